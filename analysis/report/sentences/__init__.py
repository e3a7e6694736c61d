"""The sentences of the report: the answer of each cell, what holds over all cells, and the caveats."""
