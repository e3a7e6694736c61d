"""What one trial does: domains, networks, losses, strategies, the training loop, evaluation. Knows nothing of Ray."""
