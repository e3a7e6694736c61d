"""Checking, compacting, comparing, merging and repairing stores."""
