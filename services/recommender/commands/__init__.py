"""What the recommender adds to the `tidings` command: one file a verb, found through the entry
points of `setup.cfg`."""
