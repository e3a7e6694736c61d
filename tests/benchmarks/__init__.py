"""Benchmarks of the packages, each a command: ``python -m tests.benchmarks.{training,images,metrics,harness,report}``."""
