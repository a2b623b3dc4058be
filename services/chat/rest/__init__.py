"""What the chat answers over HTTP: conversations, messages, members, notices and blocks."""
