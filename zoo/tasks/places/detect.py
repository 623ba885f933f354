"""Detection: a box and a class for each thing in a picture, and a mask where the network has one.

Sources: Ren et al. 2015, Faster R-CNN, arXiv:1506.01497, section 3.1.2; Girshick 2015, Fast R-CNN,
arXiv:1504.08083, section 2.3; He et al. 2017, Mask R-CNN, arXiv:1703.06870, section 3.

The network is the deployed one, picture to boxes. What is learnt is read where its layers
`Proposals` and `Detections` read it, so a network that was compressed learns as it did. The truth
is never in the graph: the loss matches the network's own proposals with it. Differs from the
papers: true boxes are not added to the proposals; anchors that cross the edge of the picture are
matched like others, as in torchvision; where they draw anchors and regions at random, all count
here, with the weights that they have in the mean of all draws; masks are learnt of the best
regions, as many as the answer has boxes.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal
from weakref import WeakKeyDictionary

from pydantic import Field

from zoo.common.columns import Column
from zoo.tasks.supervised import Supervised, run
from zoo.tasks.task import Mean, Metric, Seen

if TYPE_CHECKING:
    import keras

    from zoo.data.dataset import DataSet
    from zoo.tasks.places.detections import Found
    from zoo.tasks.task import Batch, Networks

Share = Annotated[float, Field(gt=0, le=1)]
_VIEWS: WeakKeyDictionary[Any, keras.Model] = WeakKeyDictionary()


class Anchored(Supervised):
    """What tasks share whose network proposes boxes and then reads them.

    Attributes:
        anchor_positive: Intersection over union from which on an anchor is one of a thing; the
            best anchors of a thing are, whatever theirs is.
        anchor_negative: Intersection over union below which an anchor is of the background; those
            between do not count.
        anchors: Number of anchors of a picture that the papers draw, at most half of them positive.
        region_positive: Intersection over union from which on a region is one of a thing; the
            others are of the background.
        region_share: Largest share of positive regions.
        box_weight: Weight of the boxes' losses beside those of the classes.
    """

    headline: ClassVar[Metric] = Metric("map", fraction=True)
    ranked: ClassVar[bool] = True

    anchor_positive: Share = 0.7
    anchor_negative: Share = 0.3
    anchors: Annotated[int, Field(ge=2)] = 256
    region_positive: Share = 0.5
    region_share: Share = 0.25
    box_weight: Annotated[float, Field(ge=0)] = 1.0

    def weights(self) -> dict[str, float]:
        """Returns the weight of each part of the loss, by name."""
        return {
            "anchor_loss": 1.0,
            "anchor_box_loss": self.box_weight,
            "class_loss": 1.0,
            "box_loss": self.box_weight,
        }


class Detect(Anchored):
    """The task of a network that finds boxes.

    Attributes:
        mask_weight: Weight of the masks' loss.
    """

    targets: ClassVar[Mapping[str, str]] = {"boxes": "boxes", "classes": "classes"}

    kind: Literal["detect"] = "detect"
    mask_weight: Annotated[float, Field(ge=0)] = 1.0

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: classes without the background."""
        return super().sizes(data) | {"num_classes": len(data.columns["classes"].names)}

    def needs(self, data: DataSet) -> tuple[str, ...]:
        """See `Task.needs`: the instances, where there are some, are for masks."""
        names = (data.input, *self.targets, "regions", "instances")
        return tuple(name for name in names if name in data.columns)

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`."""
        names = data.columns["classes"].names
        return {
            "boxes": Column("boxes", (None, 4)),
            "scores": Column("scores", (None,)),
            "classes": Column("classes", (None,), names),
            "masks": Column("masks", (None, None, None)),
        }

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`: the losses of each picture, (b,)."""
        from zoo.tasks.places import detection_loss

        net = networks["net"]
        heads = run(learnt(net), batch, training=training)
        if "masks" in heads and "instances" not in batch and self.mask_weight:
            raise ValueError(
                f"task.kind: got detect of the network {net.name}, which answers with masks, and "
                "data without any, so that it would never learn them. Bring an outline or a mask "
                "of each thing, take a network without masks, or write task.mask_weight=0."
            )
        truth = detection_loss.Truth(batch["boxes"], batch["classes"], batch.get("instances"))
        losses = detection_loss.losses(self, heads, truth, anchors_of(net))
        total = sum(
            weight * losses[name] for name, weight in self.weights().items() if name in losses
        )
        return Seen(Mean(total), {name: Mean(values) for name, values in losses.items()})

    def weights(self) -> dict[str, float]:
        """Returns the weight of each part of the loss, by name."""
        return {**super().weights(), "mask_loss": self.mask_weight}

    def meter(self, columns: Mapping[str, Column]) -> Found:  # type: ignore[override]
        """See `Task.meter`."""
        from zoo.tasks.places.detections import Found

        return Found(columns)


def learnt(net: keras.Model) -> keras.Model:
    """Returns the view of a detector that a loss needs; it shares the detector's weights.

    Args:
        net: A Functional model with one layer `Detections`, and at most one `Proposals`.

    Returns:
        A model of the same inputs whose outputs are a mapping: `logits`, `offsets` and `regions`,
        what `Detections` reads, and its codes of the regions, `pictures`, where it has some;
        `anchor_logits` and `anchor_offsets`, what `Proposals` reads; and `masks`, the masks' logits
        of the best regions (batch, best, height, width, classes).

    Raises:
        ValueError: The network is no detector.
    """
    import keras

    if net in _VIEWS:
        return _VIEWS[net]
    from zoo.layers.masks import MaskOfClass
    from zoo.layers.proposals import Detections, Proposals

    found, proposed, chosen = (_only(net, kind) for kind in (Detections, Proposals, MaskOfClass))
    if found is None:
        raise ValueError(
            f"detect: {net.name} has no layer Detections; expected a network for detection, e.g. "
            "faster_rcnn_small."
        )
    names = ("logits", "offsets", "regions", "pictures")
    outputs = dict(zip(names, found.input, strict=False))
    if proposed is not None:
        outputs |= dict(zip(("anchor_logits", "anchor_offsets"), proposed.input, strict=True))
    if chosen is not None:
        outputs["masks"] = _masks(net, chosen.input[0], found.output[0], outputs["regions"])
    view = keras.Model(net.input, outputs, name=net.name)
    _VIEWS[net] = view
    return view


def anchors_of(net: keras.Model) -> Any:
    """Returns a detector's anchors (anchors, 4), or `None` where it has none."""
    from zoo.layers.proposals import Proposals

    proposed = _only(net, Proposals)
    return None if proposed is None else proposed.anchors()


def _only(net: keras.Model, kind: type) -> Any:
    """The layer of a kind, or `None`."""
    found = [layer for layer in net._flatten_layers() if isinstance(layer, kind)]
    return found[0] if found else None


def _masks(net: keras.Model, logits: Any, boxes: Any, regions: Any) -> Any:
    """The masks' logits of the regions: the branch of the boxes, run again."""
    import keras
    from keras import ops

    from zoo.layers.roi import ROIAlign, ROIPooling

    for layer in net._flatten_layers():
        if isinstance(layer, ROIAlign | ROIPooling) and layer.input[-1] is boxes:
            branch = keras.Model(layer.output, logits)
            best = regions[:, : boxes.shape[1]]
            found = branch(layer([*layer.input[:-1], best]))  # (batch * best, h, w, classes)
            return ops.reshape(found, (-1, best.shape[1], *found.shape[1:]))
    raise ValueError(f"detect: {net.name} has masks that do not read its boxes.")
