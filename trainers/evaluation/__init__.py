"""How good generated images are: embeddings, and one file per metric."""
