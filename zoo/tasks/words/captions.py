"""What a captioner said of a split: exact match, BLEU, and where it looked."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw

from zoo.common.sentences import PADDING, words
from zoo.common.tensors import LOGITS, TOKENS, WEIGHTS
from zoo.metrics.bleu import bleu
from zoo.tasks import pictures
from zoo.tasks.kept_pictures import WORST, KeptPictures
from zoo.tasks.task import Evaluation
from zoo.tasks.words.predicting import summed

if TYPE_CHECKING:
    from zoo.common.columns import Column

SHOWN, DRAWN = 16, 6  # pictures with their sentences, and with what was looked at
TIMES = 3  # how many times larger they are drawn
LINE = 12  # height of a line of text, in pixels


class Captions:
    """Collects sentences, the nats of each true token, and a few pictures.

    Args:
        columns: The data set's columns, by name.
    """

    def __init__(self, columns: Mapping[str, Column]):
        self._image, self._names = next(iter(columns)), columns[TOKENS].names
        self._true: list[list[str]] = []
        self._said: list[list[str]] = []
        self._nats, self._hits, self._count = 0.0, 0, 0
        self._kept = KeptPictures(SHOWN)

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`.

        Args:
            batch: Pictures and true `tokens` (b, 1 + time).
            outputs: `captions` (b, time); `logits` (b, time, words) given the true words, and
                `place_weights` (b, time, places), where there are some.
        """
        self._true += [words(row, self._names) for row in batch[TOKENS]]
        self._said += [words(row, self._names) for row in outputs["captions"]]
        if LOGITS in outputs:
            real = batch[TOKENS][:, 1:] != PADDING
            nats, hits = summed(outputs[LOGITS][real], batch[TOKENS][:, 1:][real])
            self._nats, self._hits = self._nats + nats, self._hits + hits
            self._count += int(real.sum())
        num = len(batch[TOKENS])
        said, true = self._said[-num:], self._true[-num:]
        looked = outputs.get(WEIGHTS, [None] * num)
        rows = zip(batch[self._image], said, true, looked, strict=True)
        self._kept.add(rows, [_wrong(*pair) for pair in zip(said, true, strict=True)])

    def result(self) -> Evaluation:
        """Measures the sentences.

        Returns:
            `exact_match`, the share of the sentences that are the true ones word for word, `bleu1`
            to `bleu4` of the corpus, and of the true tokens `loss` in nats and `top1`, where logits
            are known; with the table `by_words` (`words` of the true sentence, `exact_match`,
            `support`) and `worst`, and the pictures `captions`, `worst`, of the largest share of
            words that are not the true one of their place, each above the true sentence, and
            `attention` of a model that attends.
        """
        exact = np.array([one == other for one, other in zip(self._true, self._said, strict=True)])
        references = [[one] for one in self._true]
        metrics = {"exact_match": float(exact.mean())}
        metrics |= {f"bleu{n}": bleu(self._said, references, most=n) for n in range(1, 5)}
        if self._count:
            metrics |= {"loss": self._nats / self._count, "top1": self._hits / self._count}
        lengths = np.array([len(one) for one in self._true])
        rows = [
            {
                "words": int(length),
                "exact_match": float(exact[lengths == length].mean()),
                "support": int((lengths == length).sum()),
            }
            for length in np.unique(lengths)
        ]
        drawn = self._kept.pictures("captions", _draw)
        if WORST in drawn:
            drawn[WORST] = partial(_draw_beside, self._kept.worst)
        looked = [
            (image, said, weights)
            for image, said, _, weights in self._kept.first
            if weights is not None
        ]
        if looked:
            drawn["attention"] = partial(draw_attention, looked[:DRAWN])
        return Evaluation(metrics, {"by_words": rows, **self._kept.tables()}, drawn)


def _wrong(said: Sequence[str], true: Sequence[str]) -> float:
    """The share of the places of the longer sentence where the two do not have the same word."""
    same = sum(one == other for one, other in zip(said, true, strict=False))
    return 1 - same / max(len(said), len(true), 1) if said != true else 0.0


def _draw(rows: Sequence[tuple[Any, ...]], path: Path) -> None:
    """Draws pictures with what was said of them."""
    draw_captions([row[0] for row in rows], [row[1] for row in rows], path)


def _draw_beside(rows: Sequence[tuple[Any, ...]], path: Path) -> None:
    """Draws pictures with what was said of them, and what is true."""
    said = [[*said, "- true:", *true] for _, said, true, _ in rows]
    draw_captions([row[0] for row in rows], said, path)


def captioned(image: np.ndarray, lines: Sequence[str], *, times: int = TIMES) -> np.ndarray:
    """Returns a picture with lines of text below, (height * times + 12 lines, width * times, 3).

    Args:
        image: Pixels or inputs (height, width, 1 or 3).
        lines: What is written; what is too wide for the picture is cut off.
        times: How many times larger the picture becomes.
    """
    large = pictures.enlarged(pictures.shown(image), times)
    sheet = np.full((len(large) + LINE * len(lines) + 2, *large.shape[1:]), 255, np.uint8)
    sheet[: len(large)] = large
    picture = Image.fromarray(sheet)
    pen = ImageDraw.Draw(picture)
    for number, line in enumerate(lines):
        pen.text((2, len(large) + LINE * number), line, fill=(0, 0, 0))
    return np.asarray(picture)


def wrapped(said: Sequence[str], width: int) -> list[str]:
    """Returns words in lines of at most `width` characters."""
    import textwrap

    return textwrap.wrap(" ".join(said), width) or [""]


def draw_captions(images: Sequence[np.ndarray], said: Sequence[Sequence[str]], path: Path) -> None:
    """Draws pictures with the sentences below them.

    Args:
        images: Pixels or inputs (height, width, 1 or 3) of one size.
        said: Words of each sentence.
        path: The PNG to write.
    """
    width = images[0].shape[1] * TIMES // 6
    lines = [wrapped(one, width) for one in said]
    most = max(map(len, lines))
    drawn = [
        captioned(image, [*one, *[""] * (most - len(one))])
        for image, one in zip(images, lines, strict=True)
    ]
    across = max(1, math.isqrt(len(drawn)))
    pictures.grid([drawn[at : at + across] for at in range(0, len(drawn), across)], path)


def draw_attention(
    looked: Sequence[tuple[np.ndarray, Sequence[str], np.ndarray]], path: Path
) -> None:
    """Draws a row for each picture: the picture, and what was looked at for each word.

    Args:
        looked: Pixels or inputs (height, width, 1 or 3), the words, and the weights of the places
            (time, places) at each step.
        path: The PNG to write.
    """
    rows = []
    for image, said, weights in looked:
        row = [captioned(image, [""], times=2)]
        for word, one in zip(said, weights, strict=False):
            row.append(captioned(lit(image, one), [word], times=2))
        rows.append(row)
    pictures.grid(rows, path)


def lit(image: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Returns a picture whose places are as bright as they are looked at, (height, width, 3).

    Args:
        image: Pixels or inputs (height, width, 1 or 3).
        weights: Of the places (places,), row by row, as high to wide as the picture.
    """
    height, width = image.shape[:2]
    rows = max(1, round(math.sqrt(len(weights) * height / width)))
    light = weights.reshape(rows, -1) / max(float(weights.max()), 1e-6)
    spread = Image.fromarray(np.rint(light * 255).astype(np.uint8)).resize(
        (width, height), Image.Resampling.BILINEAR
    )
    share = 0.2 + 0.8 * np.asarray(spread, np.float32)[..., None] / 255
    return np.rint(pictures.shown(image) * share).astype(np.uint8)
