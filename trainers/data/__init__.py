"""Data sets that can be made or opened without a network."""
