"""Whether the experiments are fair: each fault that was measured once, and what is measured now."""
