"""Adaptation of pre-trained networks by a strategy."""
