"""recall: where candidates come from, one source a module."""
