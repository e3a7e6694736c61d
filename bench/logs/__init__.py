"""Logs of a running sweep for TensorBoard, Weights & Biases and MLflow: `transfergan run --log`."""
