"""Who reads: keys of programs and staff."""
