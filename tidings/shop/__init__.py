"""What is sold: orders, stock and payments."""
