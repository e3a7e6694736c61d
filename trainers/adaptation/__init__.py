"""How a strategy adapts pre-trained networks."""
