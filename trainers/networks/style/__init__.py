"""Style-based networks (Karras et al. 2019, 2020): a latent is mapped to styles, which modulate the convolutions."""
