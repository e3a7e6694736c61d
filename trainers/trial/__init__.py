"""Execution of one trial, and its checkpoints."""
