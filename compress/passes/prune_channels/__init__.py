"""Whole channels removed: which count least, and how many go."""
