"""Time and cost: measured, estimated, limited and simulated."""
