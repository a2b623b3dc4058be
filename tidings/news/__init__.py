"""Articles, channels and authors: what may be shown, and who forgets what was cached of it."""
