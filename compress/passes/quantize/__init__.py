"""Numbers on the grids of integers: where they stand, over which ranges, with which weights."""
