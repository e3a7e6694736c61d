"""The embeddings: networks whose features the metrics compare."""
