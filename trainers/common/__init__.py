"""Shared by all other packages: errors, seeds, files, heartbeats."""
