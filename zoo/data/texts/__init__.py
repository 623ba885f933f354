"""Texts as tokens, windows, pairs and trees, and vectors of their words."""
