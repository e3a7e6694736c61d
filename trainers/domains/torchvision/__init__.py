"""Domains from torchvision's data sets."""
