"""What editors do: write, review, publish, take down, delete; and the record of who did it."""
