"""What any program needs to run: settings, start, clock, logs, metrics, addresses, workers."""
