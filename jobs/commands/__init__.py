"""`tidings jobs …`."""
