"""Real-time rooms for Django: presence, a typed protocol and one WebSocket, on Channels."""
