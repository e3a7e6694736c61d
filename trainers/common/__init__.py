"""What the other packages share: errors, seeds, files, heartbeats."""
