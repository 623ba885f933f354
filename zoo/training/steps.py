"""One step of training, or of validation, on all replicas, as one TensorFlow graph.

The gradient of an objective is taken here alone: training, L-BFGS and the checks of `zoo.craft` all
differentiate by `gradient`. A task whose loss has a gradient in it (`zoo.tasks.games.wgan_gp`) has
a tape of its own within this one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import tensorflow as tf

from zoo.recipe import Optimizer
from zoo.tasks.task import Follow, Mean, Objective, Seen, Task, named
from zoo.training import optimizer as optimizers
from zoo.training.strategy import Machine

ASKED = "asked"  # in the sums of a step: how many workers want to stop, by the reason


class Learner(NamedTuple):
    """An objective with its optimizer.

    Attributes:
        objective: What is minimised, and by which networks.
        optimizer: Built on `variables`.
        settings: How the gradient is clipped.
        variables: What learns: the trainable variables of the objective's networks.
    """

    objective: Objective
    optimizer: keras.optimizers.Optimizer
    settings: Optimizer
    variables: list[keras.Variable]


def loss(
    task: Task,
    objective: Objective,
    networks: Mapping[str, keras.Model],
    batch: Mapping[str, Any],
    *,
    training: bool = True,
    replicas: int = 1,
) -> tuple[Any, Seen]:
    """Returns the loss of a batch and what the task saw.

    The loss is the weighted mean over the whole batch, whatever is counted: examples, tokens or
    boxes; on several replicas, each returns its share of it. In it are the `penalties` of the
    networks.

    Args:
        task: Looks at the batch.
        objective: Whose turn it is.
        networks: By name.
        batch: What this replica sees of the batch.
        training: Whether the networks run as in training.
        replicas: Number of devices that share the batch; more than one only in replica context.
    """
    total, own, extra, seen = _summed(task, objective, networks, batch, training=training)
    return total / _whole(own, replicas) + extra / replicas, seen


def _summed(
    task: Task,
    objective: Objective,
    networks: Mapping[str, keras.Model],
    batch: Mapping[str, Any],
    *,
    training: bool,
) -> tuple[Any, Any, Any, Seen]:
    """The sums of the weighed losses, of the weights and of the penalties; and what was seen."""
    seen = task.look(objective.name, networks, batch, training=training)
    values, weights = weighed(seen.loss, batch)
    total = tf.reduce_sum(values * weights)
    own = [tf.cast(p, total.dtype) for p in penalties([networks[n] for n in objective.learns])]
    return total, tf.reduce_sum(weights), sum(own, tf.zeros((), total.dtype)), seen


def _whole(count: Any, replicas: int) -> Any:
    """What a sum is divided by: the weights of all replicas, and 1 where there are none."""
    if replicas > 1:
        count = tf.distribute.get_replica_context().all_reduce("SUM", count)
    return tf.where(count > 0, count, tf.ones_like(count))


def _slopes(tape: tf.GradientTape, total: Any, variables: Sequence[keras.Variable]) -> list[Any]:
    """Gradients, whole: an embedding's is sparse, and a norm needs all of it."""
    found = tape.gradient(total, [v.value for v in variables], unconnected_gradients="zero")
    return [tf.convert_to_tensor(slope) for slope in found]


def penalties(networks: Sequence[keras.Model]) -> list[Any]:
    """Returns what layers and weights add to a loss; of those that networks share, once.

    Args:
        networks: Called on a batch.
    """
    layers = {id(layer): layer for one in networks for layer in one._flatten_layers()}
    weights = {id(v): v for one in networks for v in one.trainable_weights}
    found = [loss for layer in layers.values() for loss in layer._get_own_losses()]
    return found + [v.regularizer(v) for v in weights.values() if v.regularizer is not None]


def gradient(
    task: Task,
    objective: Objective,
    networks: Mapping[str, keras.Model],
    batch: Mapping[str, Any],
    *,
    variables: Sequence[keras.Variable],
    training: bool = True,
    replicas: int = 1,
) -> tuple[Any, list[Any], Seen]:
    """Returns the loss of a batch, its gradient, and what the task saw; see `loss`.

    Args:
        task: Looks at the batch.
        objective: Whose turn it is.
        networks: By name.
        batch: What this replica sees of the batch.
        variables: What to differentiate by; one that does not matter has a gradient of 0.
        training: Whether the networks run as in training.
        replicas: Number of devices that share the batch; more than one only in replica context.
    """
    with tf.GradientTape() as tape:
        total, seen = loss(task, objective, networks, batch, training=training, replicas=replicas)
    return total, _slopes(tape, total, variables), seen


def accumulated(
    task: Task,
    objective: Objective,
    networks: Mapping[str, keras.Model],
    batch: Mapping[str, Any],
    *,
    variables: Sequence[keras.Variable],
    replicas: int = 1,
    parts: int = 1,
) -> tuple[Any, list[Any], list[Seen]]:
    """Returns the loss of a batch that is seen in parts, one after another, as `gradient` does.

    The gradient is that of the weighted mean over all parts and replicas. A part is all that is in
    memory at once, and that a normalisation sees.

    Args:
        task: Looks at the parts.
        objective: Whose turn it is.
        networks: By name.
        batch: What this replica sees of the batch.
        variables: What to differentiate by.
        replicas: Number of devices that share the batch; more than one only in replica context.
        parts: Number of parts.
    """
    looks: list[Seen] = []
    slopes: list[Any] = []
    count = summed = tf.zeros(())
    for place in range(parts):
        few = part(batch, place, parts)
        with tf.control_dependencies(slopes):  # a part begins when the one before is done
            few = {name: tf.identity(column) for name, column in few.items()}
            with tf.GradientTape() as tape:
                total, own, extra, seen = _summed(task, objective, networks, few, training=True)
                total += own * extra
            dense = _slopes(tape, total, variables)
        slopes = [old + new for old, new in zip(slopes, dense, strict=True)] if slopes else dense
        count += tf.cast(own, count.dtype)
        summed += tf.cast(total, summed.dtype)
        looks.append(seen)
    count = _whole(count, replicas)
    return summed / count, [slope / tf.cast(count, slope.dtype) for slope in slopes], looks


def train_step(
    learners: Sequence[Learner],
    networks: Mapping[str, keras.Model],
    task: Task,
    machine: Machine,
    *,
    follows: Sequence[Follow] = (),
    accumulate: int = 1,
) -> Any:
    """Returns a function that takes one step: (batch, number of the step from 1) to sums.

    The sums are those of `sums`, over the whole batch, in float64. Of several workers each brings
    to a step what it `asked` for (n,), and gets back in `ASKED` what all did.

    Args:
        learners: The objectives that take turns, in order.
        networks: Built under the machine's strategy.
        task: What is seen and measured.
        machine: Where it runs.
        follows: Networks that follow others after every step.
        accumulate: In how many parts, one after another, a device sees its share of a batch.
    """
    strategy = machine.strategy
    turns = [
        (_turn(learner, networks, task, machine, accumulate=accumulate), learner)
        for learner in learners
    ]
    statistics = moving_statistics(networks)

    def replica_step(batch: Any, number: Any, asked: Any) -> dict[str, Any]:
        found: dict[str, Any] = {} if asked is None else {ASKED: asked}
        for turn, learner in turns:
            objective = learner.objective
            for place in range(objective.times):
                found |= turn(part(batch, place, objective.parts))
        if machine.replicas > 1:
            _share(statistics)
        for follow in follows:
            _follow(follow, networks, number)
        return found

    @tf.function(autograph=False)
    def step(batch: Any, number: Any, asked: Any = None) -> dict[str, Any]:
        found = strategy.run(replica_step, args=(batch, number, asked))
        return _reduced(strategy, found)

    return step


def several_steps(step: Any, specs: Mapping[str, tf.TensorSpec]) -> Any:
    """Returns a function that takes several steps: (batches, first number, totals) to totals.

    What a call costs is paid once. The sums are added to those before in the order of the steps, so
    they, as the weights, are those of single steps to the last bit.

    Args:
        step: Takes one step, see `train_step`, on one device.
        specs: The columns of several batches (steps, b, ...).
    """

    @tf.function(autograph=False)
    def several(batches: Any, number: Any, totals: Any) -> dict[str, Any]:
        count = tf.shape(next(iter(batches.values())))[0]

        def take(place: Any, sums: Any) -> Any:
            batch = {name: column[place] for name, column in batches.items()}
            found = step(batch, number + place)
            return place + 1, {name: sums[name] + found[name] for name in sums}

        taken = tf.while_loop(
            lambda place, _: place < count,
            take,
            (tf.constant(0), dict(totals)),
            parallel_iterations=1,
        )
        return dict(taken[1])

    def call(batches: Any, number: Any, totals: Mapping[str, Any]) -> dict[str, Any]:
        sums = {name: tf.convert_to_tensor(total, tf.float64) for name, total in totals.items()}
        key = tuple(sorted(sums))
        if key not in traced:
            pairs = {name: tf.TensorSpec((2,), tf.float64) for name in sums}
            one = tf.TensorSpec((), tf.int32)
            traced[key] = several.get_concrete_function(dict(specs), one, pairs)
        return dict(traced[key](batches, number, sums))

    traced: dict[tuple[str, ...], Any] = {}
    return call


def part(batch: Mapping[str, Any], place: int, parts: int) -> Mapping[str, Any]:
    """Returns what a turn sees of a batch: every `parts`-th example.

    A replica that shares the batch has its own part of the same examples, where its share is a
    multiple of `parts`.

    Args:
        batch: Columns (b, ...).
        place: Number of the turn.
        parts: Number of parts.
    """
    if parts == 1:
        return batch
    return {name: column[place % parts :: parts] for name, column in batch.items()}


def _turn(
    learner: Learner,
    networks: Mapping[str, keras.Model],
    task: Task,
    machine: Machine,
    *,
    accumulate: int,
) -> Any:
    """Returns a function that minimises one objective on a replica's share of a batch."""
    objective, optimizer, settings, variables = learner
    replicas = machine.replicas
    clipped = optimizers.clips(settings)
    prefix = objective.name if len(task.objectives()) > 1 else ""

    def differentiate(batch: Any) -> tuple[Any, list[Any], dict[str, Any]]:
        if accumulate > 1:
            total, slopes, looks = accumulated(
                task, objective, networks, batch,
                variables=variables, replicas=replicas, parts=accumulate,
            )  # fmt: skip
            each = [
                sums(named(seen, prefix), part(batch, place, accumulate))
                for place, seen in enumerate(looks)
            ]
            found = {name: tf.add_n([one[name] for one in each]) for name in each[0]}
            return total, slopes, found
        total, slopes, seen = gradient(
            task, objective, networks, batch, variables=variables, replicas=replicas
        )
        return total, slopes, sums(named(seen, prefix), batch)

    if machine.jit:
        differentiate = tf.function(differentiate, jit_compile=True, autograph=False)

    def update(slopes: list[Any], total: Any) -> None:
        if replicas == 1:
            # After a loss that is no number the weights stay: what led there can be seen.
            finite = tf.math.is_finite(total)
            slopes = [tf.where(finite, slope, tf.zeros_like(slope)) for slope in slopes]
        if clipped:
            # What is clipped is the whole gradient: sum over replicas first, then clip, then
            # divide, because `apply` sums once more.
            if replicas > 1:
                slopes = tf.distribute.get_replica_context().all_reduce("SUM", slopes)
            slopes = optimizers.clip(settings, slopes)
            slopes = [slope / replicas for slope in slopes]
        optimizer.apply(slopes, variables)

    if replicas == 1:
        # XLA makes one pass over the memory of what is otherwise a dozen: for VGG-16's 33.6
        # million weights 0.05 s in place of 0.13 s; with clipping 0.08 s in place of 0.21 s.
        update = tf.function(update, jit_compile=True, autograph=False)

    def turn(batch: Any) -> dict[str, Any]:
        total, slopes, found = differentiate(batch)
        update(slopes, total)
        return found

    return turn


def moving_statistics(networks: Mapping[str, keras.Model]) -> list[keras.Variable]:
    """Returns what normalisations keep of batches, where each device sees its share alone."""
    layers = {id(layer): layer for one in networks.values() for layer in one._flatten_layers()}
    return [
        variable
        for layer in layers.values()
        if isinstance(layer, keras.layers.BatchNormalization)
        and layer.trainable
        and not layer.synchronized
        for variable in (layer.moving_mean, layer.moving_variance)
    ]


def _share(statistics: Sequence[keras.Variable]) -> None:
    """Gives all replicas the mean of their statistics: any one's is then everybody's."""
    if statistics:
        context = tf.distribute.get_replica_context()
        means = context.all_reduce("MEAN", [tf.identity(one.value) for one in statistics])
        for variable, mean in zip(statistics, means, strict=True):
            variable.assign(mean)


def _follow(follow: Follow, networks: Mapping[str, keras.Model], number: Any) -> None:
    """Moves a network towards the one that it follows, when it is its turn."""
    turn = number % follow.every == 0
    pairs = zip(networks[follow.network].weights, networks[follow.of].weights, strict=True)
    for own, other in pairs:
        if keras.backend.is_float_dtype(own.dtype):
            # The whole way is no sum, which would round.
            near = own + follow.share * (other - own) if follow.share < 1 else other.value
            own.assign(tf.where(turn, near, own.value))


def test_step(networks: Mapping[str, keras.Model], task: Task, machine: Machine) -> Any:
    """Returns a function that measures: batch to sums, see `train_step`."""
    strategy = machine.strategy

    def replica_step(batch: Any) -> dict[str, Any]:
        return sums(task.watch(networks, batch), batch)

    @tf.function(autograph=False)
    def step(batch: Any) -> dict[str, Any]:
        return _reduced(strategy, strategy.run(replica_step, args=(batch,)))

    return step


def _reduced(strategy: tf.distribute.Strategy, found: Mapping[str, Any]) -> dict[str, Any]:
    totals = {name: strategy.reduce("SUM", value, axis=None) for name, value in found.items()}
    return {name: tf.cast(total, tf.float64) for name, total in totals.items()}


def sums(means: Mapping[str, Mean], batch: Mapping[str, Any]) -> dict[str, Any]:
    """Returns for each mean the weighted sum and the sum of weights, (2,).

    Args:
        means: What is of interest, by name.
        batch: Has `weight` (b,), 0 for an example that does not count.
    """
    found = {}
    for name, mean in means.items():
        values, weights = weighed(mean, batch)
        found[name] = tf.stack([tf.reduce_sum(values * weights), tf.reduce_sum(weights)])
    return found


def weighed(mean: Mean, batch: Mapping[str, Any]) -> tuple[Any, Any]:
    """Returns the values and weights of a mean, of equal shape; padding weighs nothing.

    Args:
        mean: Values (b, ...).
        batch: Has `weight` (b,).
    """
    values = tf.convert_to_tensor(mean.values)
    own = tf.cast(batch["weight"], values.dtype)
    while own.shape.rank < values.shape.rank:
        own = own[..., None]
    if mean.weights is not None:
        own = own * tf.cast(mean.weights, values.dtype)
    return values, tf.broadcast_to(own, tf.shape(values)) if values.shape.rank > 1 else own
