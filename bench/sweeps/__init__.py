"""Sweep files, and the trials that they expand to."""
