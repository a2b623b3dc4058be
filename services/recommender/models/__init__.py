"""What was learned, in files: written by `tidings train`, loaded by each worker."""
