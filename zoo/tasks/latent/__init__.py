"""Kinds of learning of codes: autoencoders, VAEs, and pictures made of attributes."""
