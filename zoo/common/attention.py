"""What networks that attend call their outputs, and what hard attention reads beside."""

WEIGHTS = "place_weights"  # how much is looked where, (batch, places)
LOOKED = "place_looked"  # where hard attention looked, likewise
NOISE, SOFT = "place_noise", "soft_look"  # what it is drawn by, and 1 where it looks at all places
