"""What a run is given: the data or an environment, and the hardware."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from zoo.common.settings import Settings

Count = Annotated[int, Field(ge=1, lt=2**31)]


class Augment(Settings):
    """Random changes of the training images.

    Attributes:
        shift: Largest shift along each axis, in pixels.
        rotate: Largest rotation to either side, in degrees.
        scale: How much larger or smaller at most: 0.2 is 1/1.2 to 1.2 times as large.
        mirror: Flips left and right with probability 1/2; `auto` does so where a mirrored image
            keeps its class (clothes do, digits do not), and the optimizer is not `lbfgs`.
        mosaic: Probability that a picture is put together with three others of the training split,
            with their masks and boxes (`zoo.data.augment.mosaic`); before it moves.
        crop: Least share of a picture's area that a random crop keeps, which is stretched to the
            whole; 0 crops nothing.
        jitter: How far brightness, contrast and saturation go from 1 at most.
        rand_augment: How many of RandAugment's fourteen changes a picture goes through.
        strength: Of these, from 0 to 10.
        erase: Probability of a hole of one colour.
        mixup: Two pictures lie on one another, their shares drawn from Beta(mixup, mixup), and are
            learnt as both; of classifiers. 0 mixes none.
        cutmix: Likewise a rectangle of the other one is put in. Of both, each picture takes one.
    """

    shift: Annotated[int, Field(ge=0)] = 0
    rotate: Annotated[float, Field(ge=0, le=180)] = 0.0
    scale: Annotated[float, Field(ge=0, le=4)] = 0.0
    mirror: bool | Literal["auto"] = "auto"
    mosaic: Annotated[float, Field(ge=0, le=1)] = 0.0
    crop: Annotated[float, Field(ge=0, le=1)] = 0.0
    jitter: Annotated[float, Field(ge=0, le=1)] = 0.0
    rand_augment: Annotated[int, Field(ge=0, le=10)] = 0
    strength: Annotated[float, Field(ge=0, le=10)] = 5.0
    erase: Annotated[float, Field(ge=0, le=1)] = 0.0
    mixup: Annotated[float, Field(ge=0, le=10)] = 0.0
    cutmix: Annotated[float, Field(ge=0, le=10)] = 0.0

    @property
    def changes(self) -> bool:
        """Whether any picture is changed, but for a mirror that is not decided yet."""
        others = self.model_dump(exclude={"mirror", "strength"})
        return self.mirror is True or any(others.values())


class Text(Settings):
    """What the tokens of a text are, see `zoo.common.vocabulary`, and what an example is made of.

    Attributes:
        unit: A character, a word, or a byte pair, for which the extra `text` is installed.
        vocabulary: Most tokens of a vocabulary; `None`: 10,000 words, or 1,000 byte pairs. All
            characters that occur are kept.
        form: `windows` that follow one another; of words, `contexts`, a word with those around it,
            or `cooccurrences`, two words and how often they stand near one another.
    """

    unit: Literal["character", "word", "byte_pair"] = "character"
    vocabulary: Annotated[int, Field(ge=2)] | None = None
    form: Literal["windows", "contexts", "cooccurrences"] = "windows"


class Data(Settings):
    """What the model learns from.

    Attributes:
        name: A data set of `zoo.data.DATASETS`, `folder:PATH`, `records:PATH`, `text:PATH` or
            another that `zoo.datasets.check_name` knows.
        size: Side of the square images, in pixels, predictions in a window of a text, or tokens
            of a text of pairs, at most; `None` keeps the data set's own.
        channels: 1 for grey, 3 for RGB; `None` keeps the data set's own.
        limit: Number of training images to keep; `None` keeps all.
        stream: Whether the pictures of a folder, or the tokens of a text, stay on the disk and are
            read for every batch, or the examples of a pack; `auto` does so from 1 GiB, or 256 MiB
            of text, on.
        buffer: Examples, neighbours on the disk, that are shuffled together; `None`: all, or 1,024
            of a text that stays on the disk.
        buckets: Lengths that training batches of texts are cut to, at most: examples of about one
            length share a batch, so that little padding is read; 1 pads all to the longest.
        text: What the tokens of a text are.
        augment: Random changes of the training images.
    """

    name: str = "mnist5k"
    size: Count | None = None
    channels: Literal[1, 3] | None = None
    limit: Count | None = None
    stream: bool | Literal["auto"] = "auto"
    buffer: Count | None = None
    buckets: Count = 1
    text: Text = Text()
    augment: Augment = Augment()


class Pixels(Settings):
    """What an agent sees of an environment that shows pictures: the last few, in grey.

    Attributes:
        side: Pixels of a side; pictures of another size are resized.
        stack: How many of the last pictures are seen together, so that what moves can be told.
    """

    side: Annotated[int, Field(ge=8, le=256)] = 84
    stack: Annotated[int, Field(ge=1, le=16)] = 4


class Environment(Settings):
    """What an agent acts in, and learns from.

    Attributes:
        name: An environment of gymnasium, e.g. `CartPole-v1`.
        copies: Number of copies that are acted in side by side.
        frames: Steps of the environment in an epoch, over all copies.
        episodes: Episodes that are played to validate and to test.
        pixels: Of an environment that shows pictures: how they are seen; `None`: as usual.
    """

    name: str = "CartPole-v1"
    copies: Count = 16
    frames: Count = 4096
    episodes: Count = 100
    pixels: Pixels | None = None


class Hardware(Settings):
    """Where it runs. `auto` looks at the machine, says in one line what it chose, and why.

    Attributes:
        strategy: `one` device, `mirrored` over several, or `multiworker` over the processes, of
            several hosts perhaps, that `TF_CONFIG` names; `auto` trains with those where there are
            any, and mirrors over all GPUs when there are two or more.
        devices: Number of devices to mirror over; `None` takes all GPUs. Without a GPU, the CPU is
            split into this many logical devices.
        precision: Arithmetic of the training; the saved model is float32.
        jit: Whether XLA compiles the step; on a CPU it makes convolutions slower. `auto` tries it
            before a long training, on a GPU or of a network without convolutions.
        steps_per_call: How many steps one call takes, on one device, of data that no callback looks
            at step by step; `auto` takes several where they are short and many.
        deterministic: Whether TensorFlow may only use operations that give the same bits every
            time, for the rest of the process; slower on a GPU.
        wait_seconds: How long a worker waits for the others at the start.
    """

    strategy: Literal["auto", "one", "mirrored", "multiworker"] = "auto"
    devices: Annotated[int, Field(ge=1, le=256)] | None = None
    precision: Literal["auto", "float32", "mixed_bfloat16"] = "auto"
    jit: bool | Literal["auto"] = "auto"
    steps_per_call: Annotated[int, Field(ge=1, le=1024)] | Literal["auto"] = "auto"
    deterministic: bool = False
    wait_seconds: Annotated[float, Field(gt=0)] = 300.0
