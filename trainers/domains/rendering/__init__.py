"""Rendering of the built-in domains."""
