"""Domains made from the user's image files."""
