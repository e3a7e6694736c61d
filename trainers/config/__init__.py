"""What can be asked for: settings, strategies, names. Needs no torch."""
