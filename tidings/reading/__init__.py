"""What readers were shown and what they did."""
