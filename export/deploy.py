"""The whole export: write, run what was written, compare, and only then put it in its place."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import keras

from export import card, locate
from export import manifest as manifests
from export.failures import told_as
from export.given import as_inputs, check_span, examples_of, gathered, halves, reference_of
from export.manifest import Manifest, Signature
from export.parity import ParityError
from export.proof import Proof, prove
from export.sameness import as_shares
from export.source import own_names
from export.target import About, Labelled, Source, Target, Written
from export.targets import find_target
from zoo.common import claims, renames, staging
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
    beside what a link points to and in place of an earlier one, with the measured numbers in its
    manifest, and the error names the layers where the difference begins.

    Args:
        model: A Functional or a built Sequential model; it is not changed. A subclassed one becomes
            Functional by `functional`.
        target: A name in `TARGETS`, or a target with settings of its own.
        out: The directory to write.
        samples: Examples as the model takes them, in any form that `zoo.common.examples.gather`
            takes: an array (n, ...), a list, a mapping by input name, a data set, a generator, a
            folder of pictures, in any order. All are compared; a target that is calibrated takes
            one of each two neighbours for that, and compares the others. Some hundred are enough.
            Without them 32 are drawn at random, and an integer file is written only of a model that
            has ranges of its own.
        labelled: Labelled examples; the metrics of model and file on them are in the manifest.
        about: Name, labels and preprocessing, for the manifest; and the float model that a
            quantised one was made from.
        force: Replaces a deployable that is already at `out`.

    Returns:
        The directory and its manifest.

    Raises:
        FileExistsError: `out` exists.
        ModuleNotFoundError: The target needs a package that is not installed.
        ParityError: The file does not follow the model.
        RuntimeError: The converter failed, or the model cannot be written in this form.
        TypeError: `model` is not a Functional or Sequential model.
        ValueError: The target is unknown, the samples do not fit or the model has no finite answer
            to one, or a weight is not finite.
    """
    target = find_target(target)
    target.check_packages()
    out, about = Path(out), about or About()
    if out.exists() and not force:
        raise FileExistsError(f"{out}: exists. Choose another place, or replace it with `force`.")
    with staging.claimed(out, force=force, mark=manifests.FILE) as place:
        rejected = place.with_name(f"{place.name}.rejected")  # on the file system of the file
        staging.check_free(rejected, force=True, mark=manifests.FILE)
        if isinstance(samples, (str, Path)) and (known := about.preprocessing):
            samples = as_inputs(model, samples, known)
        net, signature, cut, examples = examples_of(model, target, samples)
        given = samples is not None
        if given:
            check_span(examples.inputs, about)
        if labelled:
            measure = labelled.measure  # of what the user's model gives, which is shares where cut
            labelled = labelled._replace(
                inputs=gathered(model, signature, labelled.inputs),
                measure=lambda outputs: measure(as_shares(outputs, cut)),
            )
        calibration, probes = halves(examples) if target.calibrated else (None, examples)
        reference = reference_of(model, about.parent, target, probes, cut)
        about = about.model_copy(update={"name": about.name or model.name})
        source = Source(
            net=net,
            signature=signature,
            about=about,
            calibration=calibration.inputs if given and calibration else {},
        )
        staging.check_room(out, _least_bytes(net))
        try:
            with staging.staged(out, force=force, mark=manifests.FILE) as partial:
                with told_as(target.kind, "the converter failed"):
                    written = target.write(source, partial)
                if cut:
                    written = written._replace(facts={**written.facts, "logits": cut})
                path = partial / written.file
                own = _own_names(model, signature)
                scores = about.scores
                if scores is not None:
                    scores = tuple(new for new, old in own.items() if old in scores)
                proof = prove(
                    target, path, source, probes,
                    reference=reference, labelled=labelled, scores=scores,
                )  # fmt: skip
                with told_as(target.kind, f"{target.runtime} cannot read what was written"):
                    manifest = _describe(target, path, source, written, proof)
                meanings = _renamed(about.meanings, own)
                told = {  # `facts` tells which outputs lost their softmax
                    "meanings": {new: said for new, said in meanings.items() if new not in cut},
                    "names": {new: old for new, old in own.items() if new != old},
                    "reads": _renamed(about.reads, own),
                    "units": _renamed(about.units, own),
                }
                manifest = manifest.model_copy(update=told)
                manifest.write(partial)
                (partial / card.FILE).write_text(card.text(manifest, about))
                if reason := proof.reason:
                    where = locate.explain(target, source, probes.inputs) if proof.differs else ""
                    kept = _kept(partial, rejected)
                    raise ParityError(f"export to {target.kind}: {reason}. {kept}{where}")
        except OSError as error:
            first = error.__cause__ if isinstance(error.__cause__, OSError) else error
            raise RuntimeError(f"export to {target.kind}: {_cause(first, out)}") from error
    return Deployable(path=out, manifest=manifest)


def _kept(partial: Path, rejected: Path) -> str:
    """Moves a file that failed aside, and says where it is; that it failed is said in any case."""
    try:
        with staging.claimed(rejected, mark=manifests.FILE) as place:
            renames.put(partial, place)
    except OSError as error:
        return f"The file could not be kept in {rejected} ({error.strerror or error})."
    return f"File kept in {rejected}."


def _cause(error: OSError, out: Path) -> str:
    """What went wrong with a file, in one line."""
    told = " ".join(str(error.strerror or error).split())
    if error.errno in claims.FULL:
        return (
            f"cannot write in {out.parent}: {told}. Nothing is left there; make room and export"
            " again."
        )
    where = f"{error.filename}: " if error.filename else ""
    return f"{where}{told}. Nothing is left at {out}."


def _least_bytes(net: keras.Model) -> int:
    """What a file of the model takes at least: half a byte for each weight."""
    return sum(math.prod(weight.shape) for weight in net.weights) // 2


def _describe(
    target: Target, path: Path, source: Source, written: Written, proof: Proof
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
        task=about.task,
        preprocessing=known.model_dump(mode="json") if known else {},
        labels=about.labels,
        ranges=dict(proof.ranges),
        precision=target.precision,
        operators=target.operators(path),
        rejected=proof.reason,
        proof=target.proof,
        parity=proof.parity,
        edges=proof.edges,
        score=proof.score,
        distance=proof.distance,
        facts=dict(written.facts),
        versions=target.versions(),
        source_sha256=about.source_sha256,
    )


def _renamed(known: Mapping[str, Any], own: Mapping[str, str]) -> dict[str, Any]:
    """What is known by the model's own names, by those of the file; see `_own_names`."""
    return {new: known[old] for new, old in own.items() if old in known}


def _own_names(model: keras.Model, signature: Signature) -> dict[str, str]:
    """The model's own names by those of the file."""
    files = [spec.name for spec in (*signature.inputs, *signature.outputs)]
    own = [name for names in own_names(model) for name in names]
    return dict(zip(files, own, strict=True))
