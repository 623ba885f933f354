"""Builds a row of the catalogue, after checking what was asked for."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from numbers import Integral
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.catalog import OWN, Architecture, find_architecture, trained_row
from zoo.common.kinds import check_kind
from zoo.common.reading import one_line
from zoo.common.settings import nearest, shown
from zoo.weights import Weights, find_shipped
from zoo.weights import find_weights as find_weights

if TYPE_CHECKING:
    import keras


def create(
    name: str,
    *,
    input_shape: Sequence[int] | None = None,
    num_classes: int | None = None,
    weights: str | None = None,
    **settings: Any,
) -> keras.Model | dict[str, keras.Model]:
    """Builds an architecture of the zoo, with fresh weights or with trained ones.

    Args:
        name: A row of the catalogue, e.g. `vgg16`.
        input_shape: (height, width, channels); where a net flattens its input anyway, also
            (features,); (time,) of a text, (time, features) of a signal, `None` where its length
            varies. Default: the paper's.
        num_classes: Length of the output; 1 for a number, or for a yes or no; tokens of a
            vocabulary; actions. Default: the paper's.
        weights: Trained weights: those of a data set, e.g. `mnist5k`, come with the zoo, and give
            input and classes their sizes; `imagenet` has to be fetched by `zoo weights get NAME`;
            `None` for fresh ones. For another number of classes than theirs the logits are fresh,
            drawn with Keras' seed. Where a network is built on another row, its `trunk`, they are
            that row's. Their input is prepared as their card, or `zoo.weights.find_weights(name)`,
            says.
        **settings: The builder's own settings, e.g. `dropout=0.3`; they go before the row's.

    Returns:
        A Functional model called `name`, of a classifier `image` (batch, height, width, channels)
        in, `logits` (batch, num_classes) out; or several by name, e.g. encoder and decoder. The
        outputs are float32 under mixed precision too.

    Raises:
        ValueError: The name or a setting is unknown, the image is too small, there is no output,
            or the trained weights do not fit.
        FileNotFoundError: The trained weights have not been fetched.
        ConnectionError: Keras could not fetch its own.
        RuntimeError: The file of the trained weights has another sha256.
    """
    row = find_architecture(name)
    if row is OWN:
        raise ValueError(
            f"create: {name!r} stands for a model that was brought as a file; expected "
            "zoo.load(PATH)."
        )
    if weights and (trunk := trained_row(row, settings)) is not row:
        return _on_trunk(row, trunk, weights, input_shape, num_classes, settings)
    ready = find_shipped(row.name, weights) if weights else None
    if ready is not None:
        return _shipped(row, ready, input_shape, num_classes, settings)
    family, function = row.builder.split(":")
    module = import_module(family)
    builder = getattr(module, function)
    shape = row.input_shape if input_shape is None else input_shape
    takes = {1: "TAKES_TEXT", 2: "TAKES_SERIES"}.get(len(shape), "")
    if getattr(module, takes, False):
        shape = tuple(shape)
    elif getattr(module, "TAKES_SERIES", False):
        raise _no_signal(row, shape)
    elif len(shape) == 1 and getattr(module, "TAKES_ROWS", False):
        shape = _row_shape(row, shape)
    else:
        shape = _image_shape(row, shape)
    parameters = set(inspect.signature(builder).parameters)
    classes = row.num_classes if num_classes is None else num_classes
    counts = "num_classes" in parameters
    if counts and (not isinstance(classes, Integral) or classes < 1):
        raise ValueError(
            f"create({name!r}): num_classes got {classes!r}; expected an integer of at least 1. "
            "A yes or no takes 1 or 2, a number takes 1."
        )
    known = parameters - {"name", "input_shape", "num_classes"}
    for key in settings:
        if key not in known:
            hint = nearest(key, sorted(known)) if known else "It has none."
            raise ValueError(f"create({name!r}): unknown setting {key!r}. {hint}")
    trained = None if weights is None else _trained(row, weights, shape)
    chosen = settings
    _check_kinds(name, builder, chosen)
    settings = {**row.settings, **(trained.settings if trained else {}), **settings}
    if counts:
        settings["num_classes"] = int(classes)
    try:
        model = builder(name=name, input_shape=shape, **settings)
    except (TypeError, ValueError) as error:
        if not chosen:
            raise
        told = ", ".join(f"{key}={shown(value)}" for key, value in chosen.items())
        raise ValueError(f"create({name!r}): {told}: {one_line(error)}") from error
    if trained is not None:
        from zoo.weights.pretrained import fill

        fill(model, trained)
    return model


def _check_kinds(name: str, builder: Callable[..., Any], settings: Mapping[str, Any]) -> None:
    """Refuses settings of another kind than the builder says.

    Raises:
        ValueError: There is one.
    """
    try:
        hints = typing.get_type_hints(builder)
    except NameError:  # of a type that is imported for types only
        return
    for key, value in settings.items():
        try:
            check_kind(hints[key], value)
        except ValueError as error:
            raise ValueError(
                f"create({name!r}): {key}: got {shown(value)}; expected {error}."
            ) from None


def _shipped(
    row: Architecture,
    place: Path,
    input_shape: Sequence[int] | None,
    num_classes: int | None,
    settings: dict[str, Any],
) -> keras.Model:
    """A model with weights that come with the zoo; another head or size is built and filled."""
    from zoo.models.saved import load_model

    trained = load_model(place)
    shape = trained.input_shape[1:]
    # Boxes are no vector; a detector's classes are those of its row.
    vector = isinstance(trained.output_shape, tuple)
    classes = trained.output_shape[-1] if vector else row.num_classes
    if input_shape in (None, shape) and num_classes in (None, classes) and not settings:
        return trained
    model: Any = create(
        row.name,
        input_shape=shape if input_shape is None else input_shape,
        num_classes=classes if num_classes is None else num_classes,
        **settings,
    )
    for layer in trained.layers:
        if not layer.weights:
            continue
        own = model.get_layer(layer.name)
        if [w.shape for w in own.weights] == [w.shape for w in layer.weights]:
            own.set_weights(layer.get_weights())
        elif layer.name != "logits":
            raise ValueError(
                f"create({row.name!r}): the trained layer {layer.name!r} has weights of other "
                f"shapes; expected input_shape {tuple(shape)} and the settings it was trained with."
            )
    return model


def _on_trunk(
    row: Architecture,
    trunk: Architecture,
    weights: str,
    input_shape: Sequence[int] | None,
    num_classes: int | None,
    settings: dict[str, Any],
) -> keras.Model:
    """A network with a trunk whose weights are those of a trained classifier."""
    from zoo.models.trunk import fill_trunk

    needs = {} if find_shipped(trunk.name, weights) else find_weights(trunk.name, weights).settings
    source: Any = create(trunk.name, weights=weights)
    shape, channels = input_shape or row.input_shape, source.input_shape[-1]
    if shape[-1] != channels:
        raise ValueError(
            f"create({row.name!r}): weights={weights!r} of {trunk.name} got input_shape "
            f"{tuple(shape)}; expected channels: {channels}. In a recipe: data.channels={channels}."
        )
    if needs:
        own = settings.get("trunk_settings", row.settings.get("trunk_settings") or {})
        settings = {**settings, "trunk_settings": {**needs, **own}}
    model: Any = create(row.name, input_shape=shape, num_classes=num_classes, **settings)
    fill_trunk(model, source, f"create({row.name!r}): weights={weights!r} of {trunk.name}")
    return model


def _trained(row: Architecture, name: str, shape: tuple[int, ...]) -> Weights:
    """Finds trained weights, and refuses grey pictures, before anything is built."""
    trained = find_weights(row.name, name)
    if shape[-1] != 3:
        raise ValueError(
            f"create({row.name!r}): weights={name!r} takes pictures in red, green and blue; got "
            f"input_shape {shape}; expected 3 channels. In a recipe: data.channels=3."
        )
    from zoo.weights.pretrained import check_cached

    check_cached(trained)
    return trained


def _row_shape(row: Architecture, shape: Sequence[int]) -> tuple[int, ...]:
    """Checks (features,) of a table's row."""
    if not isinstance(shape[0], Integral) or shape[0] < 1:
        raise ValueError(
            f"create({row.name!r}): input_shape got {shape!r}; expected (features,), an integer "
            "above 0."
        )
    return (int(shape[0]),)


def _no_signal(row: Architecture, shape: Sequence[int]) -> ValueError:
    return ValueError(
        f"create({row.name!r}): input_shape got {tuple(shape)!r}; expected (time, features), two "
        "integers above 0. Take a data set of signals, e.g. waveforms, sine or ts:PATH."
    )


def _image_shape(row: Architecture, shape: Sequence[int]) -> tuple[int, ...]:
    """Checks (height, width, channels) against the smallest side that works."""
    got = f"create({row.name!r}): input_shape got {shape!r}"
    if len(shape) != 3 or not all(isinstance(size, Integral) and size > 0 for size in shape):
        raise ValueError(
            f"{got}; expected (height, width, channels), three integers above 0. "
            "Grey pictures have one channel, e.g. (28, 28, 1)."
        )
    if min(shape[:2]) < row.smallest:
        raise ValueError(
            f"{got}; expected a height and width of at least {row.smallest}. Enlarge the pictures."
        )
    return tuple(int(size) for size in shape)
