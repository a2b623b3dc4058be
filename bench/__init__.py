"""Benchmarks and fault runs, one module each; `make bench-NAME` and `make faults-NAME` run them."""
