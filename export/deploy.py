"""The whole export: write, run what was written, compare, and only then put it in its place."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from export import card, locate
from export import manifest as manifests
from export.examples import Arrays, check_inputs, draw_inputs, edge_inputs
from export.manifest import Manifest, Parity, Score
from export.parity import ParityError, compare
from export.source import prepare, run_keras, without_softmax
from export.target import About, Labelled, Source, Target, Written
from export.targets import find_target
from zoo.common.preprocessing import Preprocessing


@dataclass(frozen=True)
class Deployable:
    """A directory with a model file that follows its Keras model, and its manifest.

    Attributes:
        path: The directory.
        manifest: What `manifest.json` says.
    """

    path: Path
    manifest: Manifest


def export(
    model: keras.Model,
    target: str | Target,
    out: str | Path,
    *,
    samples: Any = None,
    labelled: Labelled | None = None,
    about: About | None = None,
    force: bool = False,
) -> Deployable:
    """Writes `model` as a deployable directory, after running the file and comparing it with Keras.

    The file holds inference only, in the target's precision, whatever the model's own is; one of 8
    or 4 bits gives logits where the model ends in a softmax, as `facts` then says. Nothing
    appears at `out` before the comparison has passed. A file that fails is kept at `OUT.rejected`,
    in place of an earlier one, with the measured numbers in its manifest, and the error names the
    layers where the difference begins.

    Args:
        model: A Functional or a built Sequential model; it is not changed. A subclassed one becomes
            Functional by `functional`.
        target: A name in `TARGETS`, or a target with settings of its own.
        out: The directory to write.
        samples: Examples as the model takes them: an array (n, ...), or a mapping from input name
            to array. All are compared; a target that is calibrated takes the first half for that
            and compares the second. Some hundred are enough. Without them 32 are drawn at random,
            and an integer file is written only of a model that has ranges of its own.
        labelled: Labelled examples; the metrics of model and file on them are in the manifest.
        about: Name, labels and preprocessing, for the manifest.
        force: Replaces a deployable that is already at `out`.

    Returns:
        The directory and its manifest.

    Raises:
        FileExistsError: `out` exists.
        ModuleNotFoundError: The target needs a package that is not installed.
        ParityError: The file does not follow the model.
        RuntimeError: The converter failed.
        TypeError: `model` is not a Functional or Sequential model.
        ValueError: The target is unknown, the samples do not fit, or a weight is not finite.
    """
    target = find_target(target)
    target.check_packages()
    out, about = Path(out), about or About()
    rejected = out.with_name(f"{out.name}.rejected")
    _check_free(out, force=force)
    _check_free(rejected, force=True)
    net, signature = prepare(model)
    target.check_signature(signature)
    cut: list[str] = []
    if target.precision in ("int8", "int4"):
        net, cut = without_softmax(net)
    given = samples is not None
    inputs = check_inputs(samples, signature) if given else draw_inputs(signature)
    if given:
        _check_span(inputs, about)
    calibration, probes = _halves(inputs) if target.calibrated else ({}, inputs)
    about = about.model_copy(update={"name": about.name or model.name})
    source = Source(
        net=net, signature=signature, about=about, calibration=calibration if given else {}
    )

    out.parent.mkdir(parents=True, exist_ok=True)
    partial = out.with_name(f".{out.name}.{os.getpid()}.partial")
    shutil.rmtree(partial, ignore_errors=True)  # of a killed process that had our number
    partial.mkdir()
    try:
        written = target.write(source, partial)
        if cut:
            written = written._replace(facts={**written.facts, "logits": cut})
        path = partial / written.file
        proof = _prove(target, path, source, probes, "given" if given else "random", labelled)
        manifest = _describe(target, path, source, written, proof)
        manifest.write(partial)
        (partial / card.FILE).write_text(card.text(manifest, about))
        if reason := proof.reason:
            where = locate.explain(target, source, probes) if proof.differs else ""
            _move(partial, rejected)
            raise ParityError(
                f"export to {target.kind}: {reason}. File kept in {rejected}." + where
            )
        _move(partial, out)
    except OSError as error:
        raise RuntimeError(
            f"export to {target.kind}: cannot write in {out.parent}: {error.strerror or error}."
            " Nothing is left there; make room and export again."
        ) from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return Deployable(path=out, manifest=manifest)


@dataclass(frozen=True)
class _Proof:
    """What running a file has shown; all `None` for a file that nothing here can run."""

    parity: Parity | None = None
    edges: Parity | None = None
    score: Score | None = None
    reason: str = ""

    @property
    def differs(self) -> bool:
        """Whether the file runs, and its numbers are wrong."""
        return any(one and not one.passed and one.relative for one in (self.parity, self.edges))


def _prove(
    target: Target,
    path: Path,
    source: Source,
    probes: Arrays,
    origin: str,
    labelled: Labelled | None,
) -> _Proof:
    """Runs the file and the Keras model on the same inputs, and compares."""
    fault = target.fault(path)
    if target.proof != "numeric":
        return _Proof(reason=fault)
    runtime = f"{target.runtime} {target.versions()[target.runtime]}"
    limits = target.tolerance
    at_edges = limits.model_copy(
        update={"max_relative": limits.edges, "min_cosine": -1.0, "min_top1_agreement": 0.0}
    )
    cases = {origin: (probes, limits), "edges": (edge_inputs(probes), at_edges)}
    try:
        session = target.open(path)
        got = {case: session.run(inputs) for case, (inputs, _) in cases.items()}
    except Exception as error:  # each runtime has its own classes for a file that it cannot run
        return _Proof(
            reason=f"{target.runtime} cannot run the file: {' '.join(str(error).split())}"
        )
    if session.precision:
        runtime += f", {session.precision}"
    parity, edges = (
        compare(
            run_keras(source.net, source.signature, inputs),
            got[case],
            limit,
            runtime=runtime,
            inputs=case,
        )
        for case, (inputs, limit) in cases.items()
    )
    score = _scored(session.run, source, labelled) if labelled and parity.passed else None
    reason = fault or parity.reason
    reason = reason or (edges.reason and f"on zeros, extremes and noise, {edges.reason}")
    if score and labelled and not reason:
        name = labelled.headline
        lost = score.model.get(name, 0) - score.file.get(name, 0)
        if lost > limits.max_drop:
            reason = f"{name} falls by {lost:.4f} on {score.examples} examples, limit"
            reason += f" {limits.max_drop:g}"
    return _Proof(parity, edges, score, reason)


def _scored(run: Callable[[Arrays], Arrays], source: Source, labelled: Labelled) -> Score:
    inputs = check_inputs(labelled.inputs, source.signature)
    model = labelled.measure(run_keras(source.net, source.signature, inputs))
    examples = len(next(iter(inputs.values())))
    return Score(examples=examples, model=dict(model), file=dict(labelled.measure(run(inputs))))


def _describe(
    target: Target, path: Path, source: Source, written: Written, proof: _Proof
) -> Manifest:
    about = source.about
    signature = written.signature or target.signature(source.signature)
    size, gzipped = target.sizes(path)
    known = about.preprocessing
    if known and written.takes_pixels:
        known = Preprocessing(size=known.size, channels=known.channels, pad=known.pad)
    return Manifest(
        name=about.name,
        target=target.kind,
        options=target.model_dump(
            mode="json", exclude={"kind", "tolerance"}, exclude_defaults=True
        ),
        file=written.file,
        size_bytes=size,
        gzip_bytes=gzipped,
        sha256=manifests.digest(path),
        signature=signature,
        keras=None if signature == source.signature else source.signature,
        preprocessing=known.model_dump(mode="json") if known else {},
        labels=about.labels,
        precision=target.precision,
        operators=target.operators(path),
        rejected=proof.reason,
        proof=target.proof,
        parity=proof.parity,
        edges=proof.edges,
        score=proof.score,
        facts=dict(written.facts),
        versions=target.versions(),
        source_sha256=about.source_sha256,
    )


def _check_span(inputs: Arrays, about: About) -> None:
    """Refuses images that the stated preprocessing cannot have made."""
    known = about.preprocessing
    if known is None or known.size is None or len(inputs) != 1:
        return
    ((name, array),) = inputs.items()
    low, high = known.span()
    slack = 0.01 * (high - low)
    if array.min() < low - slack or array.max() > high + slack:
        raise ValueError(
            f"export: samples of {name!r}: got values from {array.min():g} to {array.max():g};"
            f" expected {low:.4g} to {high:.4g}, which the preprocessing makes of pixels. Pass the"
            " examples as the model takes them."
        )


def _halves(inputs: Arrays) -> tuple[Arrays, Arrays]:
    """Calibration must not see what the comparison sees."""
    total = len(next(iter(inputs.values())))
    if total < 2:
        raise ValueError(
            f"export: samples: got {total} example; expected at least 2, one half to calibrate and"
            " one to compare."
        )
    middle = total // 2
    first = {name: array[:middle] for name, array in inputs.items()}
    return first, {name: array[middle:] for name, array in inputs.items()}


def _check_free(path: Path, *, force: bool) -> None:
    """Refuses a place that is taken, and, even with `force`, one that `export` did not write."""
    if not path.exists():
        return
    if not force:
        raise FileExistsError(f"{path}: exists. Choose another place, or replace it with `force`.")
    if not (path / manifests.FILE).is_file():
        raise FileExistsError(
            f"{path}: exists and is not a deployable (no {manifests.FILE}). Choose another place."
        )


def _move(source: Path, destination: Path) -> None:
    """Renames over what is at `destination`; a kill in between leaves the old one beside it."""
    old = destination.with_name(f".{destination.name}.{os.getpid()}.old")
    if destination.exists():
        destination.rename(old)
    source.rename(destination)
    shutil.rmtree(old, ignore_errors=True)
