"""The forty networks of `keras.applications` through every pass: what each did, what it left, why.

    python -m tests.applications                    all of them: a table in Markdown
    python -m tests.applications VGG16 NASNetLarge  some; `--rows FILE` keeps rows between runs

Weights are random; the statistics of the normalisations are those of one batch, so that what is
compared neither dies nor explodes, nor hangs on the last bit of a weight. Inputs are the smallest
that a network allows.
"""

import argparse
import gc
import inspect
import json
import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import keras
import numpy as np
from scipy.ndimage import zoom

import compress
from compress.graph import leaf_layers
from compress.graph.channels import Channels
from compress.passes.prune_channels.ranking import Ranking, norms
from tests.test_compress_channels import zeroed

NETWORKS = sorted(
    name
    for name in dir(keras.applications)
    if inspect.isfunction(getattr(keras.applications, name))
)
SIDES = {"InceptionV3": 75, "InceptionResNetV2": 75, "Xception": 71}  # the others: 32
CLASSES, BATCH = 10, 8

# Every pass but `binarize`, at the settings that take the least time.
PASSES = {
    "prune": compress.Prune(sparsity=0.5),
    "prune_channels": compress.PruneChannels(ratio=0.3),
    "low_rank": compress.LowRank(ratio=0.5),
    "tucker": compress.LowRank(ratio=0.1, convolutions="tucker"),
    "cp": compress.LowRank(rank=2, convolutions="cp"),
    "spatial": compress.LowRank(ratio=0.1, convolutions="spatial"),
    "share_weights": compress.ShareWeights(bits=2),
    "entropy": compress.Entropy(),
    "quantize": compress.Quantize(),
    "ternarize": compress.Ternarize(method="twn"),
    "winograd": compress.Winograd(),
    "fold_batch_norm": compress.FoldBatchNorm(),
    "distill": compress.Distill(),
    "huffman": compress.Huffman(),
}
# Passes whose answers are known: by how much of the largest output they may be off.
TOLERANCES = {
    "prune_channels": 1e-4,  # those of the network with these channels at zero
    "winograd": 1e-3,
    "fold_batch_norm": 1e-3,
    "distill": 0.0,
    "huffman": 0.0,
}


def network(name: str, side: int | None = None) -> keras.Model:
    """Returns a network of random weights that answers with logits."""
    side = side or SIDES.get(name, 32)
    keras.utils.set_random_seed(0)
    model = getattr(keras.applications, name)(
        weights=None,
        input_shape=(side, side, 3),
        classes=CLASSES,
        classifier_activation=None,
    )
    fill(model)
    return model


def fill(model: keras.Model) -> None:
    """Gives a network weights, in place: He et al. 2015, and normalisations that do something."""
    random, norms = np.random.default_rng(0), []
    for _, layer in leaf_layers(model):
        if isinstance(layer, keras.layers.Normalization):
            continue  # of the pixels: its statistics are constants
        for weight in layer.weights:
            if weight.name in ("gamma", "moving_variance"):
                value = random.uniform(0.5, 1.5, weight.shape)
            elif len(weight.shape) > 1:
                depthwise = "depthwise" in type(layer).__name__.lower()
                inputs = np.prod(weight.shape[: 2 if depthwise else -1])
                value = random.standard_normal(weight.shape, "float32")
                value *= np.float32(np.sqrt(2 / inputs))
            else:
                value = random.uniform(-0.1, 0.1, weight.shape)
            weight.assign(value.astype("float32"))
        if isinstance(layer, keras.layers.BatchNormalization):
            norms.append((layer, layer.momentum))
            layer.momentum = 0.0
    if norms:
        model(images(model, 64), training=True)
    for layer, momentum in norms:
        layer.momentum = momentum
        variance = keras.ops.convert_to_numpy(layer.moving_variance)
        # Channels that hardly vary would blow rounding errors up: by 10 to 10,000 in these nets.
        layer.moving_variance.assign(np.maximum(variance, variance.mean()))


def images(model: keras.Model, count: int = BATCH) -> np.ndarray:
    """Returns pictures (count, height, width, channels) of 0 to 255: large blots, and noise."""
    random = np.random.default_rng(1)
    height, width, channels = model.input_shape[1:]
    blots = random.uniform(0, 255, (count, 4, 4, channels))
    large = zoom(blots, (1, height / 4, width / 4, 1), order=1)
    return np.clip(large + random.normal(0, 10, large.shape), 0, 255).astype("float32")


def answers(model: keras.Model) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(images(model), training=False))


def check(name: str, *, saved: bool = False, only: tuple[str, ...] = tuple(PASSES)) -> dict:
    """Applies every pass to a network, checks each result, and returns a row of the table.

    Args:
        name: One of `NETWORKS`.
        saved: Whether each result is saved and loaded too.
        only: The passes to apply.
    """
    start = time.perf_counter()
    model = network(name)
    expected = answers(model)
    assert np.ptp(expected, axis=0).max() > 1e-3 * np.abs(expected).max(), "equal for all images"
    context = compress.Context(samples=images(model))
    row = {"name": name, "parameters": model.count_params(), "passes": {}}
    for key in only:
        try:
            row["passes"][key] = applied(key, model, context, expected, saved=saved)
        except Exception as error:  # the table tells it, and a test fails
            row["passes"][key] = {"error": f"{type(error).__name__}: {error}"}
        gc.collect()  # graphs hold themselves
    row["seconds"] = time.perf_counter() - start
    return row


def applied(
    key: str,
    model: keras.Model,
    context: compress.Context,
    expected: np.ndarray,
    *,
    saved: bool,
) -> dict:
    """Applies one pass, checks the result, and returns what the table tells of it."""
    step = PASSES[key]
    start = time.perf_counter()
    small, report = step.apply(model, context)
    seconds = time.perf_counter() - start
    assert [layer.path for layer in report.layers] == [path for path, _ in leaf_layers(model)]
    assert all(layer.note for layer in report.layers)
    found = answers(small)
    assert np.isfinite(found).all(), "answers that are not finite"
    wanted = zeroed_answers(model, step.ratio) if key == "prune_channels" else expected
    off = float(np.abs(found - wanted).max() / np.abs(wanted).max())
    assert off <= TOLERANCES.get(key, np.inf), f"answers are off by {off}"
    if saved:
        assert np.array_equal(answers(loaded(small, packed=key == "huffman")), found), "not saved"
    return {
        "changed": sum(layer.changed for layer in report.layers),
        "left": dict(Counter(kind(each) for each in report.layers if not each.changed)),
        "share": report.after.parameters / report.before.parameters,
        "off": off,
        "seconds": seconds,
    }


def loaded(model: keras.Model, *, packed: bool) -> keras.Model:
    """Returns a model as it comes back from its file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        if packed:
            compress.pack(model, path)
            return compress.unpack(path)
        model.save(path)
        return keras.saving.load_model(path, compile=False)


def zeroed_answers(model: keras.Model, ratio: float) -> np.ndarray:
    """What the network says with the channels that the pass removes at zero."""
    channels = Channels(model)
    ranking = Ranking(channels, norms(model, channels.makers, order=2), set(channels.makers))
    return answers(zeroed(model, channels, ranking.least(ratio, scope="layer", keep=4)))


def kind(layer: compress.measure.report.LayerReport) -> str:
    """The reason why a layer was left, without names and numbers."""
    if not layer.before.parameters:
        return "has no weights"
    text = re.sub(r"\b\d[\d,]*( x \d+)*\b", "n", layer.note)
    return re.sub(r"\S+ (has other readers|has an activation)", r"the layer before it \1", text)


def table(rows: list[dict]) -> str:
    """Returns the rows in Markdown, and below them the reasons for which layers stay."""
    head = ["network", "parameters", *PASSES, "seconds"]
    lines = [" | ".join(head), " | ".join(["---", *["---:"] * (len(head) - 1)])]
    lines += [" | ".join(cells(row)) for row in rows]
    why: dict[tuple[str, str], Counter] = {}
    for row in rows:
        for key, done in row["passes"].items():
            for reason, count in done.get("left", {}).items():
                why.setdefault((key, reason), Counter())[row["name"]] += count
    lines += ["", "pass | layers that stay because | layers | networks", "--- | --- | ---: | ---:"]
    lines += [
        f"{key} | {reason} | {counts.total():,} | {len(counts)}"
        for (key, reason), counts in sorted(
            why.items(), key=lambda item: (list(PASSES).index(item[0][0]), -item[1].total())
        )
    ]
    return "\n".join(f"| {line} |" if line else "" for line in lines)


def cells(row: dict) -> list[str]:
    """Changed layers / layers with weights that stay, seconds; how far the answers are off."""
    found = [row["name"], f"{row['parameters']:,}"]
    for key in PASSES:
        done = row["passes"].get(key, {"error": ""})
        if "error" in done:
            found.append(done["error"])
            continue
        left = sum(count for why, count in done["left"].items() if why != "has no weights")
        off = f", off {done['off']:.0e}" if key in TOLERANCES and done["off"] else ""
        found.append(f"{done['changed']}/{left}, {done['seconds']:.1f} s{off}")
    return [*found, f"{row['seconds']:.0f}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("networks", nargs="*", default=NETWORKS, metavar="NETWORK")
    parser.add_argument("--rows", type=Path, help="keeps rows, one a line; they are not done again")
    parser.add_argument("--saved", action="store_true", help="save and load each result")
    options = parser.parse_args()
    kept = options.rows.read_text().splitlines() if options.rows and options.rows.exists() else []
    rows = {row["name"]: row for row in map(json.loads, kept)}
    for name in options.networks:
        if name not in rows:
            rows[name] = check(name, saved=options.saved)
            sys.stderr.write(f"{name}: {rows[name]['seconds']:.0f} s\n")
            if options.rows:
                with options.rows.open("a") as file:
                    file.write(json.dumps(rows[name]) + "\n")
    sys.stdout.write(table([rows[name] for name in options.networks]) + "\n")


if __name__ == "__main__":
    main()
