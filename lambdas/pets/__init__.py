"""The pet detector's functions."""
