"""Work that a worker process does: training a trial, measuring distances."""
