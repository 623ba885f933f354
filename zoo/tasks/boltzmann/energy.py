"""The energy of restricted Boltzmann machines, and Gibbs sampling.

Sources: Hinton 2002, Neural Computation 14(8) (contrastive divergence); Lee, Grosse, Ranganath & Ng
2009, ICML, sections 3.2 and 3.3 (convolutions, and pools of which one unit at most is on).

    binary    E(v, h) = -v W h - b v - c h
    Gaussian  E(v, h) = |v|^2 / 2 - v W h - b v - c h, the visible units of variance 1

F(v) = -log sum_h exp(-E(v, h)) is the free energy. The gradient of F(v) - F(v'), v' held still, is
that of contrastive divergence: <v h> of the data less <v' h'> of what Gibbs sampling made of it.
"""

from __future__ import annotations

import functools
import math
from typing import TYPE_CHECKING, Any, NamedTuple

from zoo.common.settings import shown

if TYPE_CHECKING:
    from pathlib import Path

    from zoo.tasks.task import Networks, Task


class Energy(NamedTuple):
    """A machine whose units are all connected with those of the other side.

    Attributes:
        kernel: W, (visible, hidden).
        visible_bias: b, (visible,).
        hidden_bias: c, (hidden,).
        gaussian: Whether the visible units are normal, of variance 1, and not 0 or 1.
    """

    kernel: Any
    visible_bias: Any
    hidden_bias: Any
    gaussian: bool = False

    @property
    def generative_kernel(self) -> Any:
        """The kernel of the way down, (hidden, visible)."""
        from keras import ops

        return ops.transpose(self.kernel)

    def sent(self, visible: Any) -> Any:
        """Returns what the hidden units are sent, v W + c, (b, hidden); `visible` is (b, ...)."""
        from keras import ops

        return ops.matmul(_flat(visible), self.kernel) + self.hidden_bias

    def pooled(self, visible: Any) -> Any:
        """Returns what a layer above sees: the probabilities of the hidden units, (b, hidden)."""
        from keras import ops

        return ops.sigmoid(self.sent(visible))

    def drawn(self, visible: Any, uniform: Any) -> Any:
        """Returns states of the hidden units, by numbers in [0, 1), both (b, hidden)."""
        from keras import ops

        probabilities = self.pooled(visible)
        return ops.cast(uniform < probabilities, probabilities.dtype)

    def means(self, hidden: Any) -> Any:
        """Returns the means of the visible units, (b, visible), given states of the hidden ones."""
        from keras import ops

        total = ops.matmul(hidden, ops.transpose(self.kernel)) + self.visible_bias
        return total if self.gaussian else ops.sigmoid(total)

    def free_energy(self, visible: Any) -> Any:
        """Returns F(v) of each example, (b,), in nats."""
        from keras import ops

        visible = _flat(visible)
        found = ops.matmul(visible, self.visible_bias)
        found += ops.sum(ops.softplus(self.sent(visible)), axis=1)
        return (0.5 * ops.sum(visible**2, axis=1) if self.gaussian else 0.0) - found

    def probabilities(self, visible: Any) -> Any:
        """Returns those of the hidden units, (b, hidden)."""
        return self.pooled(visible)

    def activity(self, visible: Any) -> Any:
        """Returns how many units are on of those that share a bias, (b, hidden)."""
        return self.pooled(visible)

    def filters(self) -> Any:
        """Returns what each hidden unit looks at, (hidden, visible)."""
        return self.generative_kernel


class ConvolutionalEnergy(NamedTuple):
    """A machine whose hidden units share the weights of their map; one in a pool is on at most.

    Attributes:
        kernel: W, (size, size, channels, maps).
        visible_bias: b, (channels,).
        hidden_bias: c, (maps,).
        pool: Side of a pool; 1 for units by themselves.
    """

    kernel: Any
    visible_bias: Any
    hidden_bias: Any
    pool: int = 1

    @property
    def generative_kernel(self) -> Any:
        """The kernel of the way down: the same."""
        return self.kernel

    def sent(self, visible: Any) -> Any:
        """Returns what the hidden units are sent (b, rows, columns, maps), given maps (b, ...)."""
        from keras import ops

        return ops.conv(visible, self.kernel, padding="valid") + self.hidden_bias

    def pooled(self, visible: Any) -> Any:
        """Returns the probability that a pool has a unit that is on, (b, ..., maps)."""
        from keras import ops

        return ops.sigmoid(ops.logsumexp(self._blocks(self.sent(visible)), axis=-1))

    def drawn(self, visible: Any, uniform: Any) -> Any:
        """Returns states of the hidden units (b, rows, columns, maps), by a number for each pool.

        Args:
            visible: (b, ...).
            uniform: In [0, 1), (b, rows / pool, columns / pool, maps).
        """
        from keras import ops

        shares = self.shares(visible)
        ends = ops.cumsum(shares, axis=-1)  # the last state, that none is on, takes the rest
        number = uniform[..., None]
        on = ops.logical_and(number >= ends - shares, number < ends)
        return self._spread(ops.cast(on, shares.dtype))

    def shares(self, visible: Any) -> Any:
        """Returns the probabilities of the units of each pool, (b, ..., maps, pool * pool)."""
        from keras import ops

        sent = self._blocks(self.sent(visible))
        total = ops.softplus(ops.logsumexp(sent, axis=-1, keepdims=True))  # log(1 + sum exp)
        return ops.exp(sent - total)

    def means(self, hidden: Any) -> Any:
        """Returns the means of the visible units, given states of the hidden ones."""
        from keras import ops

        total = ops.conv_transpose(hidden, self.kernel, strides=1, padding="valid")
        return ops.sigmoid(total + self.visible_bias)

    def free_energy(self, visible: Any) -> Any:
        """Returns F(v) of each example, (b,), in nats."""
        from keras import ops

        pools = ops.softplus(ops.logsumexp(self._blocks(self.sent(visible)), axis=-1))
        return -ops.sum(visible * self.visible_bias, axis=(1, 2, 3)) - ops.sum(
            pools, axis=(1, 2, 3)
        )

    def probabilities(self, visible: Any) -> Any:
        """Returns those of the hidden units, (b, rows, columns, maps)."""
        return self._spread(self.shares(visible))

    def activity(self, visible: Any) -> Any:
        """Returns how many units are on of those that share a bias, (b, maps)."""
        from keras import ops

        return ops.sum(self.shares(visible), axis=(1, 2, 4))

    def filters(self) -> Any:
        """Returns what each map looks for, in the first channel: (maps, size, size, 1)."""
        from keras import ops

        return ops.transpose(self.kernel[:, :, :1], (3, 0, 1, 2))

    def _blocks(self, maps: Any) -> Any:
        """(b, rows, columns, maps) to (b, rows / pool, columns / pool, maps, pool * pool)."""
        from keras import ops

        _, rows, columns, count = maps.shape
        side = self.pool
        x = ops.reshape(maps, (-1, rows // side, side, columns // side, side, count))
        x = ops.transpose(x, (0, 1, 3, 5, 2, 4))
        return ops.reshape(x, (-1, rows // side, columns // side, count, side * side))

    def _spread(self, blocks: Any) -> Any:
        """The way back from `_blocks`."""
        from keras import ops

        _, rows, columns, count, _ = blocks.shape
        side = self.pool
        x = ops.reshape(blocks, (-1, rows, columns, count, side, side))
        x = ops.transpose(x, (0, 1, 4, 2, 5, 3))
        return ops.reshape(x, (-1, rows * side, columns * side, count))


def energies(networks: Networks) -> list[Energy | ConvolutionalEnergy]:
    """Returns the machines of a task's networks, from the image on.

    A machine is the layers `hidden1`, or `detect1` and `hidden1`, of the network `recognition`, and
    `visible1` of `generative`.

    Raises:
        ValueError: A layer has no kernel of its own any more, e.g. as it was made of two.
    """
    from compress.graph.kernels import computed_kernel, inner

    up = {layer.name: layer for layer in networks["recognition"].layers}
    found: list[Energy | ConvolutionalEnergy] = []
    for layer in networks["generative"].layers[::-1]:
        if not layer.name.startswith("visible"):
            continue
        number = len(found) + 1
        # In integers a layer is divided from its sigmoid.
        names = (f"detect{number}", f"hidden{number}", f"hidden{number}_linear")
        above = next((up[name] for name in names if hasattr(up.get(name), "kernel")), None)
        if above is None:
            raise ValueError(
                f"recognition: has no layer hidden{number} with a kernel; expected the layers of "
                "the machine. Compress it with passes that keep its layers, e.g. prune50 or int8."
            )
        given = (computed_kernel(above), layer.bias, inner(above).bias)
        kernel, below, beside = (_tensor(x) for x in given)
        if len(kernel.shape) == 2:
            gaussian = layer.get_config()["activation"] == "linear"
            found.append(Energy(kernel, below, beside, gaussian))
        else:
            pool = up[f"hidden{number}"].pool_size
            found.append(ConvolutionalEnergy(kernel, below, beside, pool))
    return found


def coded(networks: Networks, image: Any) -> Any:
    """Returns the probabilities of the uppermost hidden units, which the way down reads.

    Args:
        networks: Have `recognition` and `generative`.
        image: (n, height, width, channels).
    """
    *lower, top = energies(networks)
    for energy in lower:
        image = energy.pooled(image)
    return top.probabilities(image)


def gibbs(
    energy: Energy | ConvolutionalEnergy, hidden: Any, uniform: Any, noise: Any
) -> tuple[Any, Any]:
    """Runs Gibbs sampling, one step for each set of numbers.

    Args:
        energy: The machine.
        hidden: States of the hidden units, (b, ...).
        uniform: In [0, 1), by which hidden units are drawn, (b, steps, ...).
        noise: By which visible ones are, (b, steps, ...): in [0, 1), or from N(0, 1) where they are
            Gaussian.

    Returns:
        States of the visible units, and of the hidden ones drawn after them; without a gradient.
    """
    from keras import ops

    for step in range(uniform.shape[1]):
        means = energy.means(hidden)
        drawn = ops.reshape(noise[:, step], (-1, *means.shape[1:]))
        visible = observed(energy, means, drawn)
        hidden = energy.drawn(visible, uniform[:, step])
    return ops.stop_gradient(visible), ops.stop_gradient(hidden)


def observed(energy: Energy | ConvolutionalEnergy, means: Any, noise: Any) -> Any:
    """Returns states of the visible units with these means, by numbers of equal shape."""
    from keras import ops

    if isinstance(energy, Energy) and energy.gaussian:
        return means + noise
    return ops.cast(noise < means, means.dtype)


def check_steps(task: Task, steps: Any, count: int) -> None:
    """Refuses what `run` cannot take, with one line.

    Raises:
        ValueError: One of the two is no integer of 1 or more.
    """
    if isinstance(steps, bool) or not isinstance(steps, int) or steps < 1 or count < 1:
        raise ValueError(
            f"task {task.kind}: got steps {shown(steps)} and count {count}; expected integers of "
            "1 or more."
        )


def run(energy: Energy | ConvolutionalEnergy, hidden: Any, *, steps: int, seed: int) -> Any:
    """Runs chains by numbers of their own, and returns the states of their hidden units.

    Args:
        energy: The machine.
        hidden: States to begin with, (chains, ...).
        steps: Steps of Gibbs sampling.
        seed: The same seed gives the same states.
    """
    import tensorflow as tf

    state = tf.convert_to_tensor(hidden)
    return _loop()(energy, state, tf.constant(steps), tf.constant(seed))


@functools.cache
def _loop() -> Any:
    """The loop of `run` as a graph, which is made once for each shape."""
    import tensorflow as tf

    def everything(energy: Energy | ConvolutionalEnergy, start: Any, steps: Any, seed: Any) -> Any:
        shape = _drawn_shape(energy, start)

        def step(index: Any, state: Any) -> tuple[Any, Any]:
            means = energy.means(state)
            noise = _numbers(energy, tf.shape(means), [seed, 2 * index])
            uniform = tf.random.stateless_uniform(shape, [seed, 2 * index + 1])
            drawn = energy.drawn(observed(energy, means, noise), uniform)
            return index + 1, tf.ensure_shape(drawn, state.shape)

        return tf.while_loop(lambda index, _: index < steps, step, (0, start))[1]

    return tf.function(everything, autograph=False)


def _numbers(energy: Energy | ConvolutionalEnergy, shape: Any, seed: Any) -> Any:
    """What visible units are drawn by."""
    import tensorflow as tf

    normal = isinstance(energy, Energy) and energy.gaussian
    draw = tf.random.stateless_normal if normal else tf.random.stateless_uniform
    return draw(shape, seed)


def _drawn_shape(energy: Energy | ConvolutionalEnergy, hidden: Any) -> tuple[int, ...]:
    """Shape of the numbers that hidden units are drawn by: one for each pool."""
    if isinstance(energy, Energy):
        return tuple(hidden.shape)
    count, rows, columns, maps = hidden.shape
    return (count, rows // energy.pool, columns // energy.pool, maps)


def _flat(visible: Any) -> Any:
    from keras import ops

    if len(visible.shape) == 2:
        return visible
    return ops.reshape(visible, (-1, math.prod(visible.shape[1:])))


def _tensor(value: Any) -> Any:
    from keras import ops

    return ops.convert_to_tensor(value)


def tie(networks: Networks, energy: Energy | ConvolutionalEnergy, number: int = 1) -> None:
    """Gives the way down what the way up sees by, as it is before the present step.

    Args:
        networks: Have `generative`, whose layer `visible{number}` is changed.
        energy: The machine of that layer.
        number: Of the machine, from the image on.
    """
    from keras import ops

    layer = networks["generative"].get_layer(f"visible{number}")
    layer.kernel.assign(ops.stop_gradient(energy.generative_kernel))
    layer.hidden_bias.assign(ops.stop_gradient(energy.hidden_bias))


def uppermost(networks: Networks) -> Energy | ConvolutionalEnergy:
    """Returns the uppermost machine as the way down keeps it, whatever the way up has become."""
    down = networks["generative"].layers
    number = sum(layer.name.startswith("visible") for layer in down)
    layer = networks["generative"].get_layer(f"visible{number}")
    kernel, bias, above = (_tensor(x) for x in (layer.kernel, layer.bias, layer.hidden_bias))
    if len(kernel.shape) == 4:
        pooling = networks["recognition"].get_layer(f"hidden{number}")
        return ConvolutionalEnergy(kernel, bias, above, pool=pooling.pool_size)
    from keras import ops

    return Energy(ops.transpose(kernel), bias, above)


def save_filters(energy: Energy | ConvolutionalEnergy, shape: tuple[int, ...], path: Path) -> None:
    """Writes what some hidden units see as a grid, each from its smallest weight to its largest.

    Args:
        energy: The machine.
        shape: (height, width, channels) of the pixels.
        path: The PNG to write.
    """
    from keras import ops

    from zoo.tasks import made as pictures

    values = ops.convert_to_numpy(energy.filters())[: pictures.SHOWN]
    if values.ndim == 2:
        values = values.reshape(-1, *shape)
    pictures.save(pictures.stretched(values), path)
