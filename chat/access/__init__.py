"""A room's policy, and the rules that follow from it: pure, below the hub."""
