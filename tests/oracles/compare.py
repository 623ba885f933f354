"""What the oracles of several families share."""

import re

import numpy as np


def close(ours, theirs):
    """At most 1e-4 of the largest logit apart; the images differ by more."""
    ours, theirs = np.asarray(ours), np.asarray(theirs)
    scale = np.abs(theirs).max()
    assert np.isfinite(scale) and scale > 0.1
    assert np.abs(theirs[0] - theirs[1]).max() > 1e-2 * scale
    assert np.abs(ours - theirs).max() <= 1e-4 * scale


def renamed(model, rules):
    """Our name of each layer with weights, to the name that `rules` make of it."""
    names = {}
    for layer in model.layers:
        if layer.weights:
            name = layer.name
            for pattern, new in rules:
                name = re.sub(pattern, new, name)
            names[layer.name] = name
    return names
