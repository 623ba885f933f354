"""Kinds of learning whose answer is a class or a number."""
