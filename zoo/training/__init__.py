"""Training: the machine, the loop, the unfinished run, and the bundle at the end."""
