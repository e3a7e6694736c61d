"""What the built-in domains are drawn with."""
