"""Who takes the money: one payment provider a module."""
