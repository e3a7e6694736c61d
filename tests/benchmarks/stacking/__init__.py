"""Several trials trained as one step, compared with one after another."""
