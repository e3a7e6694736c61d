"""Whether the report's claims are true: simulated sweeps of known truth through the real store, stopping rule and analysis."""
