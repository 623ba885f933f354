"""Kinds of learning whose answer is text."""
