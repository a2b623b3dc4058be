"""The serving side of a Thrift service."""
