"""A sweep from its file to its last outcome."""
