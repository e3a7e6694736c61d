"""What runs, where, and what became of it: sweep files, plans, Ray Tune, early stopping, the store, the command line."""
