"""The `tidings` command: one module a noun. A process adds its own by the entry-point group."""
