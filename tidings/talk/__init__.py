"""Conversations, their messages, and notices: every rule of them, without a server."""
