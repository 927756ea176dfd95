"""The cost and the effect of durability: acks, a crowd that reconnects, a room of a million messages."""
