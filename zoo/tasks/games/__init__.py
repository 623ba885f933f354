"""Adversarial games, and how alike what they make is to what is real."""
