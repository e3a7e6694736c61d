"""What decides which trial starts, pauses, stops, is retried or blocked. Needs no Ray."""
