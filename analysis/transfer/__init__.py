"""The transfer gain by source, strategy, size and class, and its statistics."""
