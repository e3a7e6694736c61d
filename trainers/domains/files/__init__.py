"""Domains whose images lie in files."""
