"""Passes one after another, and the search for those that fit a budget."""
