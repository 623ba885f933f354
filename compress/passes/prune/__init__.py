"""Zeros among the weights: where they stand, when they come, and in how many rounds."""
