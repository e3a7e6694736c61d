"""Sweeps on real images whose results are kept with the program, and what they say."""
