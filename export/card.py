"""`MODEL_CARD.md`: the manifest in sentences, for whoever is handed the file."""

from __future__ import annotations

from export.manifest import Distance, Manifest, Parity, TensorSpec
from export.target import About

FILE = "MODEL_CARD.md"
NUM_LABELS = 20

PROOFS = {
    "numeric": "The file was run in its own runtime and compared with the Keras model.",
    "compile": "The file was compiled by its vendor's compiler; no device was there to run it.",
    "convert-only": "The file was written and read again; nothing here can run it.",
}


def text(manifest: Manifest, about: About) -> str:
    """Returns the card, in Markdown.

    Args:
        manifest: What was measured.
        about: What the caller said of the model.
    """
    parts = [
        f"# {manifest.name}, {manifest.target}",
        about.origin,
        _facts(manifest, about),
        "## Inputs and outputs",
        _tensors(manifest),
        _preprocessing(manifest),
        _labels(manifest),
        "## Proof",
        PROOFS[manifest.proof],
        _proof(manifest),
        f"**Rejected: {manifest.rejected}.**" if manifest.rejected else "",
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _facts(manifest: Manifest, about: About) -> str:
    rows = {
        "file": f"`{manifest.file}`, {manifest.size_bytes:,} bytes",
        "arithmetic": manifest.precision,
        "licence": about.licence,
        "sha256": f"`{manifest.sha256}`",
        "written from": manifest.source_sha256 and f"`{manifest.source_sha256}`",
        "versions": ", ".join(f"{name} {number}" for name, number in manifest.versions.items()),
        **{name.replace("_", " "): str(value) for name, value in manifest.facts.items()},
    }
    return "\n".join(f"- {name}: {value}" for name, value in rows.items() if value)


def _tensors(manifest: Manifest) -> str:
    def row(role: str, spec: TensorSpec) -> str:
        shape = ", ".join("any" if side is None else str(side) for side in spec.shape)
        return f"| {role} | `{spec.name}` | ({shape}) | {spec.dtype} |"

    lines = ["| | name | shape | type |", "| --- | --- | --- | --- |"]
    lines += [row("input", spec) for spec in manifest.signature.inputs]
    lines += [row("output", spec) for spec in manifest.signature.outputs]
    lines += [line for note in manifest.notes() for line in ("", note)]
    if manifest.meanings:
        lines += [""] + [f"- `{name}`: {said}" for name, said in manifest.meanings.items()]
    if manifest.names:
        pairs = (f"`{new}` is `{own}`" for new, own in manifest.names.items())
        lines += ["", f"In the Keras model {', '.join(pairs)}."]
    return "\n".join(lines)


def _preprocessing(manifest: Manifest) -> str:
    known = manifest.preprocessing
    if not known:
        return ""
    size = known.get("size")
    made = f"pixels of a picture of {size} x {size}" if size else "features"
    mean, std = (", ".join(f"{x:.6g}" for x in known[name]) for name in ("mean", "std"))
    return f"An input is (x * {known['scale']:.6g} - mean) / std of {made}: mean {mean}; std {std}."


def _labels(manifest: Manifest) -> str:
    labels = manifest.labels
    if not labels:
        return ""
    more = f" and {len(labels) - NUM_LABELS} more" if len(labels) > NUM_LABELS else ""
    return f"Classes, in order: {', '.join(labels[:NUM_LABELS])}{more}."


def _proof(manifest: Manifest) -> str:
    lines = ["| inputs | examples | largest difference | cosine | same top-1 | runtime |"]
    lines.append("| --- | ---: | ---: | ---: | ---: | --- |")
    lines += [_parity(one) for one in (manifest.parity, manifest.edges) if one is not None]
    if len(lines) == 2:
        return ""
    for one in filter(None, (manifest.parity, manifest.edges)):
        for name, reason in one.left_out.items():
            lines += ["", f"Left out of the {one.inputs} inputs: {name}, as {reason}."]
    if distance := manifest.distance:
        lines += ["", sentence(distance)]
    if score := manifest.score:
        lines += ["", f"On {score.examples} labelled examples, the model and the file:", ""]
        lines += [
            f"- {name}: {value:.4f}, {score.file[name]:.4f}" for name, value in score.model.items()
        ]
    return "\n".join(lines)


def sentence(distance: Distance) -> str:
    """Returns how far a file is from its float model, as a sentence."""
    noise = "" if distance.sqnr_db is None else f", {distance.sqnr_db:.1f} dB over the noise"
    same = distance.top1_agreement
    winner = "" if same is None else f", same top-1 {same:.4f}"
    return (
        f"Distance from the float model ({distance.of}) on {distance.samples} examples: largest"
        f" difference {distance.relative:.2e} of the largest output{noise}, cosine"
        f" {distance.cosine:.6f}{winner}."
    )


def _parity(found: Parity) -> str:
    def number(value: float | None, form: str) -> str:
        return "" if value is None else format(value, form)

    cells = (
        found.inputs,
        str(found.samples),
        number(found.relative, ".2e"),
        number(found.cosine, ".6f"),
        number(found.top1_agreement, ".4f"),
        found.runtime,
    )
    return f"| {' | '.join(cells)} |"
