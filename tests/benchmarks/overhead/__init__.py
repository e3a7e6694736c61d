"""What the harness adds to training: time and memory of the driver per trial, and checkpoints per step."""
