"""Sweep files that come with transfergan, loaded by name."""
