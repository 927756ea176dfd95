"""The cost of a flood from one address for all other users."""
