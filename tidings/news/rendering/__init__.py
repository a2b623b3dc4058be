"""The pages and feeds that people and their programs read, made of articles."""
