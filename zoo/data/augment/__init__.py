"""Random changes of a batch, a function of seed, epoch and step."""
