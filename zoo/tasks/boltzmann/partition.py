"""The partition function of a restricted Boltzmann machine: estimated, or exact where it is small.

Source: Salakhutdinov & Murray 2008, On the quantitative analysis of deep belief networks, ICML,
section 4: annealed importance sampling from a base-rate model, whose visible units do not depend
on the hidden ones, with temperatures that stand the closer the nearer they are to the machine.
Differs: the base rates are those of the examples at hand; the estimate is right whatever they are.

The mean of the weights is Z, but all runs can miss a place that has most of it: of a machine whose
training went wrong the estimate may be far too small, and so the log-probability too good, with a
small error. Samples and `mse` show such a machine.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np

from zoo.tasks.boltzmann.energy import Energy, observed

EXACT = 16  # hidden units up to which all of their states are summed
BLOCK = 12  # of them at a time: 2 ** 12 states
SCHEDULE = ((0.0, 0.5, 500), (0.5, 0.9, 4000), (0.9, 1.0, 10000))  # the paper's 14,500


class Estimate(NamedTuple):
    """An estimate of log Z.

    Attributes:
        value: In nats.
        error: Its standard error, in nats.
    """

    value: float
    error: float


def temperatures(count: int) -> np.ndarray:
    """Returns inverse temperatures from 0 to 1 (count + 1,), spread as the paper's are.

    Args:
        count: Number of steps, at least 3.
    """
    whole = sum(part for _, _, part in SCHEDULE)
    ends = np.cumsum([0, *(part for _, _, part in SCHEDULE)]) / whole
    marks = [SCHEDULE[0][0], *(high for _, high, _ in SCHEDULE)]
    return np.interp(np.linspace(0, 1, count + 1), ends, marks)


def log_weights(energy: Energy, base: Any, *, chains: int, steps: int, seed: Any) -> Any:
    """Returns the logarithms of importance weights, whose mean is Z, (chains,), in nats.

    Args:
        energy: The machine.
        base: Visible biases of the base-rate model, (visible,).
        chains: Number of runs.
        steps: Number of temperatures, see `temperatures`.
        seed: Two integers (2,), int32.
    """
    import tensorflow as tf
    from keras import ops

    visible, hidden = energy.kernel.shape
    betas = tf.constant(temperatures(steps), tf.float32)
    draw = tf.random.stateless_normal if energy.gaussian else tf.random.stateless_uniform

    def numbers(index: Any, offset: int) -> Any:
        return tf.random.experimental.stateless_fold_in(seed, 2 * index + offset)

    def bias(beta: Any) -> Any:
        return (1 - beta) * base + beta * energy.visible_bias

    def step(index: Any, state: Any, total: Any) -> tuple[Any, Any, Any]:
        low, high = betas[index], betas[index + 1]
        sent = energy.sent(state)  # (chains, hidden)
        # log p*(v) = (1 - beta) v a + beta v b + sum softplus(beta (v W + c)); |v|^2 cancels out.
        total += (high - low) * ops.matmul(state, energy.visible_bias - base)
        total += ops.sum(ops.softplus(high * sent) - ops.softplus(low * sent), axis=1)
        uniform = tf.random.stateless_uniform((chains, hidden), numbers(index, 2))
        on = tf.cast(uniform < ops.sigmoid(high * sent), tf.float32)
        means = high * ops.matmul(on, ops.transpose(energy.kernel)) + bias(high)
        means = means if energy.gaussian else ops.sigmoid(means)
        state = observed(energy, means, draw((chains, visible), numbers(index, 3)))
        return index + 1, state, total

    first = base if energy.gaussian else ops.sigmoid(base)
    first = tf.broadcast_to(first, (chains, visible))
    state = observed(energy, first, draw((chains, visible), numbers(0, 0)))
    total = tf.zeros((chains,), tf.float32)
    _, _, total = tf.while_loop(lambda index, *_: index < steps, step, (0, state, total))
    if energy.gaussian:
        start = 0.5 * visible * math.log(2 * math.pi) + 0.5 * ops.sum(base**2)
    else:
        start = ops.sum(ops.softplus(base))
    return total + start + hidden * math.log(2)


def estimated(weights: np.ndarray) -> Estimate:
    """Returns log Z by the mean of importance weights.

    Args:
        weights: Their logarithms, (chains,), two or more.
    """
    logs = np.asarray(weights, np.float64)
    shares = np.exp(logs - logs.max())
    error = shares.std(ddof=1) / (shares.mean() * math.sqrt(len(shares)))
    return Estimate(float(logs.max() + np.log(shares.mean())), float(error))


def base_rates(images: Any) -> Any:
    """Returns the log-odds of each pixel of 0 or 1, (visible,), a little towards one half.

    Args:
        images: (b, visible).
    """
    from keras import ops

    count = ops.cast(ops.shape(images)[0], images.dtype)
    on = ops.sum(images, axis=0)
    return ops.log(on + 1) - ops.log(count - on + 1)


def exact_log_z(energy: Energy) -> Any:
    """Returns log Z by summing over all states of the hidden units, (), float32, in nats.

    Raises:
        ValueError: There are more than `EXACT` hidden units.
    """
    import tensorflow as tf
    from keras import ops

    visible, hidden = energy.kernel.shape
    if hidden > EXACT:
        raise ValueError(
            f"exact_log_z: got {hidden} hidden units; expected {EXACT} at most. Estimate it."
        )
    block = min(BLOCK, hidden)
    low = tf.constant(_states(block))  # (2 ** block, block)
    high = tf.constant(_states(hidden - block))

    def part(state: Any) -> Any:
        own = ops.concatenate([low, tf.repeat(state[None], low.shape[0], axis=0)], axis=1)
        total = ops.matmul(own, ops.transpose(energy.kernel)) + energy.visible_bias
        total = 0.5 * total**2 if energy.gaussian else ops.softplus(total)
        return ops.logsumexp(ops.matmul(own, energy.hidden_bias) + ops.sum(total, axis=1))

    parts = tf.map_fn(part, high)
    constant = 0.5 * visible * math.log(2 * math.pi) if energy.gaussian else 0.0
    return ops.logsumexp(parts) + constant


def _states(units: int) -> np.ndarray:
    """All states of some units, (2 ** units, units), float32."""
    numbers = np.arange(2**units)[:, None]
    return ((numbers >> np.arange(units)) & 1).astype(np.float32)
