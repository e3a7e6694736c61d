"""Reads the store and tells what it says: frames, statistics, figures, the report. Needs neither torch nor Ray."""
