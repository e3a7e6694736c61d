"""Analysis of a store: frames, statistics, figures and the report. Needs neither torch nor Ray."""
