"""The sweep `four-by-four`: four sets of real images, each as a source of the three others."""
