"""Data sets that packages carry, or that are made here: a file each."""
