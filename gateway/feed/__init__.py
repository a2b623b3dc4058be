"""A reader's feed over HTTP: the ladder, and the cards."""
