"""Kernels that learn what a bit of them costs."""
