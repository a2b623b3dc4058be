"""The jobs daemon: what happens on time rather than on request."""
