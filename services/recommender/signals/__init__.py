"""What all readers share: what is read just now, and what is read after what."""
