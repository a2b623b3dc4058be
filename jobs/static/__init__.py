"""Static jobs: known beforehand, each firing run once."""
