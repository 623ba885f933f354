"""What is exported: a bundle with its data and labels, or anybody's `.keras` file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

import export as writers
from export import Deployable
from export.manifest import FILE
from export.rewrite import has_half
from export.sameness import HALF, NUM_COMPARED, REWRITTEN, refuse_others
from export.target import About, Labelled
from export.targets import find_target
from zoo.bundle import (
    NETWORKS,
    Bundle,
    check_finite,
    check_network,
    find_bundle,
    is_model_file,
    name_of,
)
from zoo.common import staging
from zoo.common.answers import meanings, scores
from zoo.common.digests import sha256
from zoo.common.home import SHIPPED
from zoo.common.images import PAD
from zoo.common.preprocessing import Preprocessing
from zoo.common.reading import one_line
from zoo.models.pixels import take_pixels
from zoo.models.saved import load_model
from zoo.stages.labelled import labelled
from zoo.stages.opening import reopen

NUM_SAMPLES = 256  # of each two, integer targets calibrate on one and are compared on the other
NUM_LABELLED = 1000  # of the test split, on which model and file are scored


def export(
    model: Bundle | str | Path,
    *targets: str,
    network: str | None = None,
    out: str | Path = "exported",
    options: Mapping[str, Any] | None = None,
    samples: Any = None,
    pixels: bool = False,
    unsafe: bool = False,
    force: bool = False,
) -> list[Deployable]:
    """Exports a bundle, or a `.keras` or `.h5` file, to each target.

    Args:
        model: A bundle, its directory, or a `.keras` or `.h5` file.
        *targets: Names of `export.targets.target_names()`.
        network: Name of one of a bundle's networks, e.g. `decoder`, in place of what is deployed;
            it is proved on what the networks before it give of the samples.
        out: Holds one directory `NAME-TARGET`, or `NAME-NETWORK-TARGET`, for each target.
        options: Options of the targets, e.g. `{"io": "int8"}`.
        samples: Examples as the model takes them, in any form that
            `zoo.common.examples.gather` takes; of a folder of pictures a bundle's own
            preprocessing makes inputs. `None` takes a bundle's own training examples.
        pixels: Whether the preprocessing becomes a part of the file.
        unsafe: Whether Lambda layers may be loaded, which run the file's own code.
        force: Whether to replace what is there.

    Raises:
        FileExistsError: There is something in one of the places.
        FileNotFoundError: There is no such model.
        ValueError: A target or an option is unknown, or the model or the samples do not fit.
        RuntimeError: A file does not behave like the model. Of several targets the others are
            written all the same: `PartlyExportedError`.
    """
    path = model.path if isinstance(model, Bundle) else Path(model)
    if not is_model_file(path):
        path = find_bundle(path).path
    elif not path.is_file():
        raise FileNotFoundError(f"{path}: no such file; expected a bundle or a .keras file.")
    if not targets:
        raise ValueError('export: got no target; expected one or more, e.g. "tflite", "onnx".')
    check_network(path, network)
    name = name_of(path, network)
    chosen = [find_target(target, dict(options or {})) for target in dict.fromkeys(targets)]
    places = {target.kind: Path(out) / f"{name}-{target.kind}" for target in chosen}
    for place in places.values():  # all before any work; each is looked at once more
        staging.check_free(place, force=force, mark=FILE)
    for target in chosen:
        target.check_packages()
    given = open_model(path, network=network, pixels=pixels, unsafe=unsafe)
    samples = given.samples(NUM_SAMPLES) if samples is None else samples
    known, about = given.labelled(NUM_LABELLED), given.about(name)
    done: list[Deployable] = []
    failed: dict[str, Exception] = {}
    for target, place in zip(chosen, places.values(), strict=True):
        try:
            one = writers.export(
                given.model,
                target,
                place,
                samples=samples,
                labelled=known,
                about=about,
                force=force,
            )
        except (RuntimeError, ValueError, TypeError, OSError) as error:
            failed[target.kind] = error  # the others may do
        else:
            done.append(one)
    reasons = {str(error) for error in failed.values()}
    if failed and not done and len(reasons) == 1:  # which has to do with no target
        raise next(iter(failed.values()))
    if failed:
        raise PartlyExportedError(done, failed)
    return done


class PartlyExportedError(RuntimeError):
    """Some of several targets failed; a line for each says why.

    Attributes:
        done: What the other targets wrote, which stays.
        failed: Why the others did not, by target.
    """

    def __init__(self, done: list[Deployable], failed: Mapping[str, Exception]) -> None:
        self.done, self.failed = done, dict(failed)
        lines = [f"{kind} failed: {one_line(error)}" for kind, error in self.failed.items()]
        super().__init__("\n".join(lines))


class Given:
    """A model by itself: nothing is known of its inputs but their shapes.

    Attributes:
        model: As loaded.
    """

    def __init__(self, model: keras.Model, path: Path):
        self.model, self._path = model, path

    def samples(self, count: int) -> Any:
        """Returns `count` examples as the model takes them; `None` where there are none."""
        return None

    def labelled(self, count: int) -> Labelled | None:
        """Returns at most `count` labelled examples of the test split."""
        return None

    def about(self, name: str) -> About:
        """Returns what is known of the model."""
        return About(name=name, source_sha256=sha256(self._path))


class GivenBundle(Given):
    """A bundle.

    Args:
        bundle: The bundle.
        network: One of its networks; `None` is what is deployed.
        pixels: Whether the preprocessing becomes a part of the model.
    """

    def __init__(self, bundle: Bundle, *, network: str | None, pixels: bool):
        opened = reopen(bundle)
        self._bundle, self._run, self._pixels = bundle, opened.run, pixels
        self._network = network
        model, known = opened.model, opened.run.preprocessing
        if network is not None:
            model = opened.run.networks[network]
        read = [tensor.name for tensor in model.inputs]
        if pixels and network is not None and read != [opened.run.data.input]:
            raise ValueError(
                f"{bundle.path}: got --pixels for a network that reads {', '.join(read)}; expected "
                "one of pictures alone. Export it without."
            )
        if pixels and known is None:
            raise ValueError(
                f"{bundle.path}: got --pixels; its inputs are not preprocessed. Export it without."
            )
        own = tuple(model.inputs[0].shape[1:])
        if pixels and known and len(model.inputs) == 1 and known.shape != own:
            raise ValueError(
                f"{bundle.path}: got --pixels; the model reads {own}, and was trained on pictures "
                f"of {known.shape}. Export it without."
            )
        super().__init__(take_pixels(model, known) if pixels and known else model, bundle.path)
        if pixels:
            self._check_pixels(model)

    def _check_pixels(self, model: keras.Model) -> None:
        """Compares the model of pixels with that of inputs, before anything is made of it."""
        raw = self._run.raw("train", NUM_COMPARED)
        expected, got = (
            {str(place): np.asarray(one) for place, one in enumerate(keras.tree.flatten(answers))}
            for answers in (
                model(self._run.inputs(raw, network=self._network), training=False),
                self.model(raw[self._run.data.input], training=False),
            )
        )
        limit = HALF if has_half(model) else REWRITTEN
        refuse_others(expected, got, limit, where=f"{self._bundle.path}: --pixels")

    def _parent(self) -> keras.Model | None:
        """The model that this one was compressed from, where its bundle lies beside this one."""
        report = self._bundle.report.compress
        if not self._bundle.card.parent or report is None or not report.parent_name:
            return None
        for folder in (self._bundle.path.resolve().parent, SHIPPED):
            try:
                parent = Bundle(folder / report.parent_name)
                if parent.sha256 != self._bundle.card.parent:
                    continue
                place = parent.path / self._file if self._network else parent.path
                model = load_model(place)
            except (OSError, ValueError):  # gone, or another one by now
                continue
            known = self._run.preprocessing
            return take_pixels(model, known) if self._pixels and known else model
        return None

    @property
    def _file(self) -> Path:
        """The file of the network, within a bundle."""
        return Path(NETWORKS, f"{self._network}.keras")

    def _inputs(self, raw: Mapping[str, Any]) -> Any:
        if self._pixels:
            return raw[self._run.data.input]
        return self._run.inputs(raw, network=self._network)

    def samples(self, count: int) -> Any:
        """See `Given.samples`; the first of the training split."""
        return self._inputs(self._run.raw("train", count))

    def labelled(self, count: int) -> Labelled | None:
        """See `Given.labelled`."""
        check_finite(self._bundle)
        if self._network is not None:  # which answers something else than the task's question
            return None
        return labelled(self._run, count, inputs=self._inputs)

    def about(self, name: str) -> About:
        """See `Given.about`."""
        card, network = self._bundle.card, self._network
        kinds = {column.kind for column in card.inputs.values()}
        if network is not None:  # which may read a code, or noise
            inputs = {
                tensor.name: tensor.shape[1:] for tensor in self._run.networks[network].inputs
            }
            kinds = {
                column.kind
                for name, column in card.columns.items()
                if name in inputs and _fits(inputs[name], column.shape)
            }
        # Of noise, e.g. what a generator reads, or of pictures made of others, nothing is known.
        values = card.preprocessing if kinds & {"image", "features"} else {}
        known = Preprocessing(**{"pad": PAD, **values}) if values else None
        read = next((c.shape for c in card.inputs.values() if c.kind == "image"), (None,))
        if known and known.size and read[0]:  # smaller than it has learnt from
            known = known.model_copy(update={"size": read[0]})
        if known and self._pixels:
            known = Preprocessing(size=known.size, channels=known.channels, pad=PAD)
        said = {}
        if network is None:
            said = meanings(
                card.task,
                list(card.outputs),
                probabilities=getattr(self._bundle.recipe.task, "probabilities", False),
                actions=card.actions,
            )
        texts = {name: column for name, column in card.inputs.items() if column.kind == "tokens"}
        reads = {
            name: column.names
            for name, column in texts.items()
            if column.names not in ((), card.labels)
        }
        units = {name: column.unit for name, column in texts.items() if column.unit}
        part = f"the network {network} of " if network else ""
        return About(
            name=name,
            task="" if network else card.task,
            labels=() if network else card.labels,
            reads={} if network else reads,
            units={} if network else units,
            meanings=said,
            scores=None if network else scores(card.outputs),
            preprocessing=known,
            licence=card.licence,
            origin=f"{part}{card.architecture} ({card.paper}), trained on {card.data}.",
            source_sha256=(
                sha256(self._bundle.path / self._file) if network else self._bundle.sha256
            ),
            parent=self._parent(),
        )


def _fits(shape: Sequence[int | None], column: Sequence[int | None]) -> bool:
    """Whether examples of a column's shape are what an input reads; a `None` is any side."""
    return len(shape) == len(column) and all(
        None in pair or pair[0] == pair[1] for pair in zip(shape, column, strict=True)
    )


def open_model(
    path: Path, *, network: str | None = None, pixels: bool = False, unsafe: bool = False
) -> Given:
    """Opens a bundle, or a `.keras` or `.h5` file.

    Args:
        path: Path of either.
        network: One of a bundle's networks; `None` is what is deployed.
        pixels: Whether the preprocessing becomes a part of the model.
        unsafe: Whether Lambda layers may be loaded.

    Raises:
        FileNotFoundError: There is neither.
        ValueError: The file is not a whole Keras model, or nothing is known to preprocess with.
    """
    if not is_model_file(path):
        return GivenBundle(Bundle(path), network=network, pixels=pixels)
    if pixels:
        raise ValueError(
            f"{path}: got --pixels; a .keras file does not say how pixels become inputs. Export the"
            " bundle it came from, or build the preprocessing into the model."
        )
    return Given(load_model(path, unsafe=unsafe), path)
