"""Kinds of learning: what is minimised, what is measured, what is drawn."""
