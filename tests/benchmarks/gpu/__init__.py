"""All measurements of one GPU in a given time: the tests, steps, features, trials of the paper's networks, packing."""
