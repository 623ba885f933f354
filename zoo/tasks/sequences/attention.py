"""Pictures of a machine along one sequence: what it reads and says, and where it looks.

Figures 6, 9 and 12 of Graves, Wayne & Danihelka 2014, arXiv:1410.5401.
"""

from __future__ import annotations

from pathlib import Path

import keras
import numpy as np
from keras import ops
from matplotlib.figure import Figure

from zoo.common.tensors import LOGITS, NEXT
from zoo.models import step as steps

WEIGHTS = "_weights"


def draw_attention(
    step: keras.Model, series: np.ndarray, answer: np.ndarray, asked: np.ndarray, path: Path
) -> None:
    """Draws what goes in, what is wanted and said, and the attention of each head over the places.

    Args:
        step: A step that reads `series`.
        series: (time, features).
        answer: (time, bits).
        asked: 1 where an answer is expected, (time,).
        path: The PNG to write.
    """
    time = len(asked) - int(asked[::-1].argmax())
    found = steps.through_time(step, ops.convert_to_tensor(series[None, :time]))
    values = {name: ops.convert_to_numpy(one)[0] for name, one in found.items()}
    said = asked[:time, None] / (1 + np.exp(-values[LOGITS]))
    rows = {"inputs": series[:time], "wanted": answer[:time], "said": said}
    for name, one in values.items():
        if name.endswith(WEIGHTS):
            used = np.flatnonzero(one.max(axis=0) > 0.05)
            shown = one[:, used.min() : used.max() + 1] if len(used) else one
            rows[name.removeprefix(NEXT).removesuffix(WEIGHTS)] = shown
    heights = [max(1.0, one.shape[1] / 8) for one in rows.values()]
    figure = Figure(figsize=(8, 0.6 * sum(heights) + 1), layout="constrained")
    axes = figure.subplots(len(rows), 1, sharex=True, height_ratios=heights, squeeze=False)[:, 0]
    for axis, (name, one) in zip(axes, rows.items(), strict=True):
        axis.imshow(one.T, aspect="auto", cmap="gray", vmin=0, vmax=1, interpolation="nearest")
        axis.set_ylabel(name)
        axis.set_yticks([])
    axes[-1].set_xlabel("step")
    figure.savefig(path, dpi=120)
