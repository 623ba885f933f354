"""Writing with a language model: draws one token after another by a step of the model."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from zoo.common.settings import Settings

if TYPE_CHECKING:
    import keras
    import numpy as np

START = "\n"  # what stands before a text without a prompt, where the vocabulary has it


class Options(Settings):
    """How to write.

    Attributes:
        count: Number of texts.
        seed: Seed of the draws.
        prompt: What every text begins with.
        length: Characters to write behind the prompt.
        temperature: What the logits are divided by; 0 takes the likeliest token each time.
    """

    count: Annotated[int, Field(ge=1)] = 1
    seed: Annotated[int, Field(ge=0, lt=2**31)] = 0
    prompt: str = ""
    length: Annotated[int, Field(ge=1)] = 200
    temperature: Annotated[float, Field(ge=0)] = 1.0


def write_texts(step: keras.Model, vocabulary: tuple[str, ...], options: Options) -> list[str]:
    """Returns texts that begin with the prompt.

    Args:
        step: See `zoo.models.step.step_of`.
        vocabulary: The character of each token.
        options: How to write.

    Raises:
        ValueError: A character of the prompt is not in the vocabulary.
    """
    import numpy as np
    import tensorflow as tf

    from zoo.models import step as steps

    places = {character: token for token, character in enumerate(vocabulary)}
    unknown = sorted(set(options.prompt) - set(places))
    if unknown:
        raise ValueError(
            f"prompt: got {', '.join(map(repr, unknown))}; expected characters of the "
            f"{len(vocabulary)} that the model learnt. Leave out what is not among them."
        )
    call = tf.function(lambda given: step(given, training=False), autograph=False)
    names = [tensor.name for tensor in step.inputs]
    random = np.random.RandomState(options.seed)
    known: dict[str, Any] = {
        name: tf.zeros((options.count, units)) for name, units in steps.states(step).items()
    }
    read: list[Any] = [places[character] for character in options.prompt]
    read = read or [places.get(START, 0)]
    written: list[np.ndarray] = []
    while True:
        for token in read:
            tokens = np.broadcast_to(np.asarray(token, np.int32).reshape(-1, 1), (options.count, 1))
            known[steps.TOKENS] = tf.constant(tokens)
            found = call([known[name] for name in names])
            known = {name: found[steps.NEXT + name] for name in names if name != steps.TOKENS}
        if len(written) == options.length:
            break
        written.append(draw(found[steps.LOGITS].numpy(), options.temperature, random))
        read = [written[-1]]
    columns = np.stack(written, axis=1)  # (count, length)
    return [options.prompt + "".join(vocabulary[token] for token in row) for row in columns]


def draw(logits: np.ndarray, temperature: float, random: np.random.RandomState) -> np.ndarray:
    """Returns a token for each row of logits (n, vocabulary), as (n,).

    The largest of logits / temperature + Gumbel noise is a draw from their softmax; so the draw
    goes to the likeliest token as the temperature goes to 0.
    """
    noise = random.gumbel(size=logits.shape)
    return (logits.astype("float64") + temperature * noise).argmax(axis=1)
