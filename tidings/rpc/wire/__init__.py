"""How a message looks on a connection, for both ends."""
