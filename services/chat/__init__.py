"""The chat: it holds the sockets of readers who are to be told, and nothing else does."""
