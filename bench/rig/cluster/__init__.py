"""One process beside several that share a Redis."""
