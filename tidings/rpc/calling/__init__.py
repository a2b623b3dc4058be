"""The calling side of a Thrift service."""
