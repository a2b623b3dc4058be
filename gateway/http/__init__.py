"""How any request is read and answered."""
