"""What durability costs and gives: acks, a crowd that comes back, a room of a million messages."""
