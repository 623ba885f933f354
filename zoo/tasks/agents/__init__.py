"""Kinds of learning by acting in an environment."""
