"""What predicts transfer, and the recommendation of a source."""
