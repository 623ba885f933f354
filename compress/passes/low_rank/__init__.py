"""Layers of two thin factors or more: which rank, and which form."""
