"""The editor's desk: what a reader may ask it, and in which words it answers."""
