"""Weights of two values or of three, and how they learn."""
