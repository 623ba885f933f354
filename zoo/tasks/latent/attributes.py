"""Pictures from attributes: which thing, from where, how transformed; to a picture and its mask.

Source: Dosovitskiy et al. 2015, arXiv:1411.5928, section 3.2: the squared error of the picture,
which is black outside the true mask, over all pixels, at a weight, and the cross-entropy of the
mask. What is shown is the picture on white where the mask is.

What it is judged by are combinations of a thing and a view that training has not seen: their
squared error, and by how much it is larger than that of combinations seen in training, in other
sizes and colours.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.common.settings import shown
from zoo.tasks.classes import one_hot, told
from zoo.tasks.task import Evaluation, Mean, Metric, Seen
from zoo.tasks.unsupervised import Unsupervised

if TYPE_CHECKING:
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Batch, Networks

CODES = ("label", "view", "transform")  # inputs of the network
KINDS = {"label": "class", "view": "features", "transform": "features", "mask": "mask"}
KINDS |= {"combination": "class"}
STEPS = 8  # pictures of a path between two examples


class Attributes(Unsupervised):
    """The task of one network that draws.

    Its inputs are `label`, one-hot, `view`, sine and cosine of each angle, the turn first, and
    `transform`, numbers in [-1, 1]; its outputs `image`, intensities, and `mask`, probabilities.

    Attributes:
        picture_weight: Weight of the picture's squared error beside the mask's cross-entropy, both
            means over the pixels.
    """

    headline: ClassVar[Metric] = Metric("unseen_mse", higher=False)
    deployed_answers: ClassVar[bool] = True
    filmed: ClassVar[bool] = True

    kind: Literal["attributes"] = "attributes"
    picture_weight: Annotated[float, Field(gt=0)] = 10.0

    def check(self, data: DataSet) -> None:
        """See `Task.check`."""
        super().check(data)
        has = {name: column.kind for name, column in data.columns.items()}
        if {name: has.get(name) for name in KINDS} != KINDS:
            told = [", ".join(f"{key} ({kind})" for key, kind in x.items()) for x in (KINDS, has)]
            raise ValueError(
                f"task.kind: got {self.kind}, which learns from {told[0]}; {data.name} has "
                f"{told[1]}. Take chair_views, or another task.kind."
            )

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`."""
        lengths = {name: data.columns[name].shape[0] for name in ("view", "transform")}
        return super().sizes(data) | {"num_classes": len(data.columns["label"].names)} | lengths

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`."""
        return {"image": data.columns[data.input], "mask": data.columns["mask"]}

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`; `mse` is that of the picture that is shown, (b,)."""
        from keras import ops

        made = _net(networks)(_codes(networks, batch), training=training)
        image, mask = made["image"], made["mask"]
        truth = ops.cast(batch["mask"], mask.dtype)  # (b, h, w)
        error = ops.square(image - batch["image"] * truth[..., None])
        crossed = ops.binary_crossentropy(truth, mask)
        picture, outline = ops.mean(error, axis=(1, 2, 3)), ops.mean(crossed, axis=(1, 2))
        shown = ops.square(composed(image, mask) - batch["image"])
        each = ops.mean(shown, axis=(1, 2, 3))
        measures = {"mse": Mean(each), "outline": Mean(outline)}
        if not training:
            unseen = ops.cast(batch["combination"], mask.dtype)
            measures["unseen_mse"] = Mean(each, unseen)
        return Seen(Mean(self.picture_weight * picture + outline), measures)

    def answer(self, networks: Networks, batch: Batch) -> dict[str, Any]:
        """See `Task.answer`: the network's own, and pictures along paths from example to example.

        Of a path each row of the batch is one of `STEPS` pictures: `classes` goes from one class to
        another, `views` from one view to another; all else stays.
        """
        from keras import ops

        net, codes = _net(networks), _codes(networks, batch)
        row = ops.arange(ops.shape(codes["view"])[0])
        share = ops.cast(row % STEPS, "float32")[:, None] / (STEPS - 1)
        places = [(row // STEPS * 2 + end) % ops.shape(row)[0] for end in (0, 1)]
        one, other = ({key: ops.take(x, at, axis=0) for key, x in codes.items()} for at in places)
        found = dict(net(codes, training=False))
        for name, part in (("classes", "label"), ("views", "view")):
            moved = one[part] + share * (other[part] - one[part])
            if part == "view":
                moved = _on_circles(moved)
            made = net(one | {part: moved}, training=False)
            found[name] = composed(made["image"], made["mask"])
        return found

    def meter(self, columns: Mapping[str, Column]) -> Drawn:
        """See `Task.meter`."""
        return Drawn(columns["combination"].names)

    def generate(
        self,
        networks: Networks,
        *,
        columns: Mapping[str, Column],
        count: int,
        seed: int,
        label: int | None = None,
        walk: bool = False,
        elevation: float = 25.0,
        **options: Any,
    ) -> np.ndarray:
        """See `Task.generate`: things in random views, sizes and colours.

        Args:
            networks: Trained, by name.
            columns: What the deployed model reads and answers with.
            count: Number of pictures.
            seed: Seed of what is random.
            label: Index of the class; `None` draws one for each picture.
            walk: Whether the pictures turn once around a thing, which becomes another on the way
                where there is no `label`.
            elevation: Of the view, in degrees, -90 to 90.
            **options: None are known.
        """
        import numpy as np

        from zoo.tasks.made import refuse_options, to_pixels

        refuse_options(self, options)
        numeric = isinstance(elevation, (int, float)) and not isinstance(elevation, bool)
        if not numeric or not abs(elevation) <= 90:
            raise ValueError(
                f"task {self.kind}: got elevation {shown(elevation)}; expected degrees, -90 to 90."
            )
        net = _net(networks)
        classes, angles, numbers = (tensor.shape[1] for tensor in net.inputs)
        if label is not None and not 0 <= label < classes:
            raise ValueError(f"label: got {label}; expected 0 to {classes - 1}.")
        random = np.random.RandomState(seed)
        ends = random.permutation(classes)[:2] if label is None else np.array([label, label])
        share = np.arange(count) / count
        if walk:
            first, last = one_hot(ends, classes)
            hot = first + share[:, None] * (last - first)
            turn, transform = 2 * np.pi * share, np.zeros((count, numbers))
        else:
            chosen = random.randint(classes, size=count) if label is None else [label] * count
            hot = one_hot(chosen, classes)
            turn = random.uniform(0, 2 * np.pi, size=count)
            transform = random.uniform(-1, 1, size=(count, numbers))
        height = np.radians(elevation)
        view = np.tile([0, 0, *[np.sin(height), np.cos(height)] * (angles // 2 - 1)], (count, 1))
        view[:, 0], view[:, 1] = np.sin(turn), np.cos(turn)
        codes = {"label": hot, "view": view, "transform": transform}
        codes = {name: values.astype(np.float32) for name, values in codes.items()}
        parts = []
        for start in range(0, count, 256):
            made = net({key: x[start : start + 256] for key, x in codes.items()}, training=False)
            parts.append(np.asarray(composed(made["image"], made["mask"])))
        return to_pixels(np.concatenate(parts), low=0.0)


def composed(image: Any, mask: Any) -> Any:
    """Returns pictures on white, in [0, 1] where the image is, (n, height, width, channels).

    Args:
        image: Intensities, (n, height, width, channels).
        mask: Probabilities, (n, height, width).
    """
    return 1 - mask[..., None] * (1 - image)


def _net(networks: Networks) -> Any:
    return next(iter(networks.values()))


def _codes(networks: Networks, batch: Batch) -> dict[str, Any]:
    """What the network reads of a batch."""
    label = told(_net(networks), batch)
    return {"label": label, "view": batch["view"], "transform": batch["transform"]}


def _on_circles(view: Any) -> Any:
    """Brings pairs of a sine and a cosine (b, 2 angles) back to length 1."""
    from keras import ops

    pairs = ops.reshape(view, (-1, view.shape[1] // 2, 2))
    lengths = ops.sqrt(ops.sum(pairs**2, axis=-1, keepdims=True) + 1e-6)
    return ops.reshape(pairs / lengths, (-1, view.shape[1]))


class Drawn:
    """Compares pictures and masks with the true ones, combination by combination.

    Args:
        names: What combinations are called: seen in training, and not.
    """

    def __init__(self, names: tuple[str, ...]):
        self._names = names
        self._rows: list[np.ndarray] = []  # squared error, intersection, union, combination
        self._shown: dict[str, list[np.ndarray]] = {}

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`; a file gives `image` and `mask` alone."""
        import numpy as np

        from zoo.tasks import made as pictures

        shown = composed(outputs["image"], outputs["mask"]).clip(0, 1)
        error = np.square(shown - batch["image"]).mean(axis=(1, 2, 3), dtype="f8")
        truth, guess = batch["mask"] == 1, outputs["mask"] >= 0.5
        both, either = ((x.sum(axis=(1, 2))) for x in (truth & guess, truth | guess))
        self._rows.append(np.stack([error, both, either, batch["combination"]], axis=1))
        unseen = batch["combination"] == 1
        pairs = np.stack([batch["image"], shown], axis=1)[unseen]
        found = {"unseen": pairs.reshape(-1, *shown.shape[1:])}
        found |= {name: outputs[name] for name in ("classes", "views") if name in outputs}
        for name, values in found.items():
            kept = self._shown.setdefault(name, [])
            if sum(map(len, kept)) < pictures.SHOWN:
                kept.append(pictures.to_pixels(values, low=0.0))

    def result(self) -> Evaluation:
        """Measures `mse`, `mask_iou`, and of combinations the `unseen_mse` and the `ratio` to it.

        The table `combinations` has `combination`, `mse`, `psnr`, `mask_iou` and `support`; the
        picture `unseen` has true pictures, each beside the one that was made of it.
        """
        import numpy as np

        from zoo.tasks import made as pictures

        rows = np.concatenate(self._rows)
        table, found = [], {}
        for index, name in enumerate(self._names):
            own = rows[rows[:, 3] == index]
            if len(own):
                found[name] = own[:, 0].mean()
                iou = own[:, 1].sum() / max(own[:, 2].sum(), 1)
                psnr = float(-10 * np.log10(max(found[name], 1e-12)))
                row = {"combination": name, "mse": float(found[name]), "psnr": psnr}
                table.append(row | {"mask_iou": float(iou), "support": len(own)})
        seen, unseen = (found.get(name, np.nan) for name in self._names)
        metrics = {
            "mse": float(rows[:, 0].mean()),
            "mask_iou": float(rows[:, 1].sum() / max(rows[:, 2].sum(), 1)),
            "unseen_mse": float(unseen),
            "ratio": float(unseen / seen),
        }
        shown = {}
        for name, parts in self._shown.items():
            whole = np.concatenate(parts)[: pictures.SHOWN]
            if len(whole):
                shown[name] = partial(pictures.save, whole)
        return Evaluation(metrics, {"combinations": table}, shown)
