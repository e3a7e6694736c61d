"""The quality of generated images: embeddings, and one file per metric."""
