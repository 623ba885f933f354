"""What tensors are called that pass from room to room: columns, inputs and outputs of networks.

The names of a bundle's files and of an exported file's signature are these; so they stay.
"""

from __future__ import annotations

# What is read, and what is learnt.
IMAGE, SERIES, TOKENS, LABEL = "image", "series", "tokens", "label"
SOURCE = "source"  # tokens that a translator reads
HYPOTHESIS = "hypothesis"  # tokens of the sentence that may follow from `TOKENS`
JOINS = "joins"  # height at which each word of a tree meets the next
COUNTED, LENGTHS = "counted", "lengths"  # predictions that count; characters of each token

# What networks say, and what a step carries.
LOGITS = "logits"
NEXT = "next_"  # before the name of a state: its next value
PICTURE = "picture"  # what a decoder reads at t = -1
WEIGHTS, LOOKED = "place_weights", "place_looked"  # how much is looked where; at what, in the end
NOISE, SOFT = "place_noise", "soft_look"  # what hard attention draws
