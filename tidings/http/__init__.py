"""How any request over HTTP is read and answered, by each process that speaks HTTP."""
