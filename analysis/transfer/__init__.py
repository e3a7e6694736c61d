"""How much transfer gains: by source, strategy, size and class."""
