"""Thrift made fit to run: a server that drains and refuses, a client with pool, balance, deadlines
and retries."""
