"""What the static jobs do."""
