"""What the numbers of a model's outputs say, in the form of its task. No framework is needed.

`zoo predict` and servers read the same answers from a card or a manifest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from zoo.common.sentences import words

if TYPE_CHECKING:
    import numpy as np

    from zoo.common.columns import Column

    Outputs = np.ndarray | Mapping[str, np.ndarray]

DETECTED = ("boxes", "scores", "classes")  # outputs of a detector
DESCRIBED = ("boxes", "scores", "phrases")  # of a dense captioner
SIDES = ("y1", "x1", "y2", "x2")

_BOXES = "y1, x1, y2, x2 in pixels of the picture as the model sees it, the surest first"
_SURE = "probability; 0 and what belongs to it is padding"
_IN_FRACTIONS = "in fractions of the picture's height and width"
_POINTS = f"y, x of each point {_IN_FRACTIONS}"
MEANINGS: Mapping[str, Mapping[str, str]] = {  # of a task's outputs; "" is an only output
    "classify": {"": "logits of the classes"},
    "glimpses": {"": "logits of the classes"},
    "inference": {"": "logits of the classes"},
    "tree": {"": "logits of the classes"},
    "traits": {"": "logit of each attribute"},
    "binary": {"": "logit of the second class"},
    "devise": {"": "products of the picture's vector with that of each class's words"},
    "regress": {"": "the value"},
    "forecast": {"": "the next values of the signal, in its own unit"},
    "segment": {"": "logits of the classes, for each pixel"},
    "localise": {"logits": "logits of the classes", "box": f"y1, x1, y2, x2 {_IN_FRACTIONS}"},
    "detect": {
        "boxes": _BOXES,
        "scores": _SURE,
        "classes": "index of the class; -1 is padding",
        "masks": "probability of the thing, over its box",
    },
    "dense_caption": {
        "boxes": _BOXES,
        "scores": _SURE,
        "phrases": "indices of the words, ended by that of the end",
    },
    "pose": {"points": _POINTS, "": _POINTS},
    "ellipse": {
        "": "centre y, x and the logarithms of the half-axes, in fractions of the picture (its "
        "height), then cosine and sine of twice the angle of the longer one"
    },
}
_POLICY = (
    "logits of the actions, the largest is taken; of actions that are numbers their means, -1 at "
    "the lowest and 1 at the highest that is allowed, then the logarithms of their deviations"
)
ACTIONS: Mapping[str, Mapping[str, str]] = {  # of agents, which a single file does not ask
    **{task: {"": _POLICY} for task in ("a2c", "ppo", "reinforce")},
    "dqn": {"": "discounted return of each action; the largest is taken"},
}


def answers(
    task: str, outputs: Outputs, *, labels: Sequence[str] = (), top: int = 3
) -> list[list[dict[str, Any]]]:
    """Returns the rows of the answer for each example.

    Args:
        task: Kind of learning, a key of `zoo.catalog.TASKS`.
        outputs: One output (n, ...), or several by name.
        labels: Names of the classes.
        top: Number of classes to name for an example.

    Returns:
        For each example, of classes: `label` and `probability`, the best first; of words that are
        near: `label` and `score`; of attributes: `trait` and `probability` of each; of a number:
        `value`; of a forecast: `place` and `value` of each; of a mask: `label` and `share`, the
        fraction of the pixels, the largest first; of the object in a picture: `label`,
        `probability` and `y1`, `x1`, `y2`, `x2`, in fractions of the picture as the model sees it;
        of the things that a detector finds: the same of each, the best first, in pixels of the
        picture as the model sees it; of a dense captioner likewise, with `phrase` in the place of
        `label`; of points: `point`, `y`, `x` in fractions of the picture; of an ellipse: `y`, `x`,
        half-axes `a` and `b` in fractions (of the height), and `degrees` of the longer one,
        clockwise.

    Raises:
        ValueError: Nothing is known of the answers of this task.
    """
    if task not in _FORMS:
        raise ValueError(
            f"the task {task} has no answer for a single file; expected one of {', '.join(_FORMS)}."
        )
    found: list[list[dict[str, Any]]] = _FORMS[task](outputs, labels, top)
    return found


def scores(outputs: Mapping[str, Column]) -> tuple[str, ...] | None:
    """Returns the names of the outputs whose largest value is the answer.

    Args:
        outputs: Of a task: of a class, a token or an action by its index, or of something else.

    Returns:
        The names; `None` where there is one output alone, and it is such: it may have any name.
    """
    found = tuple(name for name, column in outputs.items() if column.kind in ("class", "tokens"))
    return None if len(found) == len(outputs) == 1 else found


def acted(actions: Mapping[str, Any]) -> str:
    """Returns how an agent's answer becomes an action, by what its card says; empty of nothing."""
    if "low" in actions:
        return (
            "means of the numbers of an action, then the logarithms of their deviations; each "
            "number is low + (clip(mean, -1, 1) + 1) / 2 * (high - low), with low "
            f"{list(actions['low'])} and high {list(actions['high'])}"
        )
    return f"the first one is action {actions['start']}" if actions.get("start") else ""


def meanings(
    task: str,
    outputs: Sequence[str],
    *,
    probabilities: bool = False,
    actions: Mapping[str, Any] | None = None,
) -> dict[str, str]:
    """Returns what the numbers of each output say, of those of which it is known.

    Args:
        task: Kind of learning.
        outputs: Names of the model's outputs.
        probabilities: Whether they are behind a softmax or a sigmoid.
        actions: See `zoo.bundle.Card.actions`.
    """
    known = MEANINGS.get(task) or ACTIONS.get(task, {})
    if task in ACTIONS and (told := acted(actions or {})):
        known = {"": told if "low" in (actions or {}) else f"{known['']}; {told}"}
    only = known.get("", "") if len(outputs) == 1 else ""
    found = {name: known.get(name, only) for name in outputs}
    if probabilities:
        for old, new in (("logits", "probabilities"), ("logit", "probability")):
            found = {name: told.replace(old, new) for name, told in found.items()}
    return {name: meaning for name, meaning in found.items() if meaning}


def _classes(outputs: Any, labels: Sequence[str], top: int) -> list[list[dict[str, Any]]]:
    from scipy.special import softmax

    return [
        [
            {"label": labels[best], "probability": float(share[best])}
            for best in share.argsort()[::-1][:top]
        ]
        for share in softmax(outputs, axis=1)
    ]


def _nearest(outputs: Any, labels: Sequence[str], top: int) -> list[list[dict[str, Any]]]:
    return [
        [{"label": labels[best], "score": float(row[best])} for best in row.argsort()[::-1][:top]]
        for row in outputs
    ]


def _yes_or_no(outputs: Any, labels: Sequence[str], top: int) -> list[list[dict[str, Any]]]:
    import numpy as np

    # sigmoid(s) is the softmax of 0 and s
    return _classes(np.concatenate([np.zeros_like(outputs), outputs], axis=1), labels, top)


def _traits(outputs: Any, labels: Sequence[str], top: int) -> list[list[dict[str, Any]]]:
    from scipy.special import expit

    return [
        [{"trait": name, "probability": float(x)} for name, x in zip(labels, row, strict=True)]
        for row in expit(outputs)
    ]


def _number(outputs: Any, labels: Sequence[str], top: int) -> list[list[dict[str, Any]]]:
    return [[{"value": float(value)}] for value in outputs[:, 0]]


def _shares(outputs: Any, labels: Sequence[str], top: int) -> list[list[dict[str, Any]]]:
    import numpy as np

    rows = []
    for mask in np.argmax(outputs, axis=-1):  # (height, width)
        shares = np.bincount(mask.ravel(), minlength=len(labels)) / mask.size
        order = [i for i in shares.argsort(kind="stable")[::-1] if shares[i] > 0]
        rows.append([{"label": labels[i], "share": float(shares[i])} for i in order])
    return rows


def _box(outputs: Any, labels: Sequence[str], top: int) -> list[list[dict[str, Any]]]:
    classes = _classes(outputs["logits"], labels, 1)
    return [
        [best | dict(zip(SIDES, map(float, box), strict=True))]
        for (best,), box in zip(classes, outputs["box"], strict=True)
    ]


def _boxes(outputs: Any, labels: Sequence[str], top: int) -> list[list[dict[str, Any]]]:
    return _things(outputs, DETECTED, "label", lambda kind: labels[int(kind)])


def _phrases(outputs: Any, labels: Sequence[str], top: int) -> list[list[dict[str, Any]]]:
    return _things(outputs, DESCRIBED, "phrase", lambda tokens: " ".join(words(tokens, labels)))


def _things(
    outputs: Any, names: Sequence[str], key: str, told: Callable[[Any], str]
) -> list[list[dict[str, Any]]]:
    """What was found in each picture: `names` are those of boxes, scores and what is `told`."""
    return [
        [
            {key: told(what), "probability": float(score)}
            | dict(zip(SIDES, map(float, box), strict=True))
            for box, score, what in zip(*picture, strict=True)
            if score > 0
        ]
        for picture in zip(*(outputs[name] for name in names), strict=True)
    ]


def _points(outputs: Any, labels: Sequence[str], top: int) -> list[list[dict[str, Any]]]:
    return [
        [{"point": index, "y": float(y), "x": float(x)} for index, (y, x) in enumerate(points)]
        for points in outputs
    ]


def _ellipse(outputs: Any, labels: Sequence[str], top: int) -> list[list[dict[str, Any]]]:
    import math

    rows = []
    for y, x, log_a, log_b, cos, sin in outputs.tolist():
        axes = {"a": math.exp(min(log_a, 2.0)), "b": math.exp(min(log_b, 2.0))}
        turn = math.degrees(math.atan2(sin, cos) / 2) % 180
        rows.append([{"y": y, "x": x, **axes, "degrees": turn}])
    return rows


def _ahead(outputs: Any, labels: Sequence[str], top: int) -> list[list[dict[str, Any]]]:
    return [
        [{"place": place, "value": float(value)} for place, value in enumerate(row[:, 0], start=1)]
        for row in outputs
    ]


_FORMS: dict[str, Any] = {
    "forecast": _ahead,
    "classify": _classes,
    "glimpses": _classes,
    "inference": _classes,
    "tree": _classes,
    "traits": _traits,
    "binary": _yes_or_no,
    "devise": _nearest,
    "regress": _number,
    "segment": _shares,
    "localise": _box,
    "detect": _boxes,
    "dense_caption": _phrases,
    "pose": _points,
    "ellipse": _ellipse,
}

OF_CLASSES = tuple(  # tasks whose answer is a score of each class
    task for task, form in _FORMS.items() if form in (_classes, _yes_or_no, _nearest, _traits)
)
