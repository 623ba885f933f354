"""From a split, in memory or on a disk, to the batches of an epoch."""
