"""The tables of conversations, messages and notices.

conn.execute(select(conversation).where(conversation.c.id == 7))
"""
