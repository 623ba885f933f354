"""How many pictures a second one core changes, by each key of `data.augment`.

python tests/oracles/augment_time.py [--side 32] [--batch 256]
"""

import argparse
import os
import sys
import time
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[2]))

import tensorflow as tf

from zoo.data.augment import appearance, geometry, mixing
from zoo.recipe import Augment

KEYS = (
    *({"shift": 4}, {"rotate": 10.0}, {"crop": 0.3}, {"jitter": 0.4}, {"erase": 0.5}),
    *({"rand_augment": 2}, {"mixup": 0.2}, {"cutmix": 1.0}),
)
ROUNDS, CALLS = 5, 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--side", type=int, default=32)
    parser.add_argument("--batch", type=int, default=256)
    chosen = parser.parse_args()
    tf.config.threading.set_inter_op_parallelism_threads(1)
    tf.config.threading.set_intra_op_parallelism_threads(1)
    num = chosen.batch
    images = tf.random.stateless_uniform((num, chosen.side, chosen.side, 3), [0, 0], 0, 255)
    batch = {"image": tf.cast(images, tf.uint8), "label": tf.range(num)}
    others = {name: values[::-1] for name, values in batch.items()}
    for keys in KEYS:
        settings = Augment(mirror=False, **keys)

        @tf.function
        def changed(number, settings=settings):
            seed = tf.stack([1, number])
            if mixing.mixes(settings):
                return mixing.mix(batch, others, mixing.draw(num, seed, settings))["image"]
            if appearance.changes(settings):
                drawn = appearance.draw(num, seed, settings)
                return appearance.change(batch["image"], drawn, settings)
            return geometry.augment(batch["image"], seed, settings)

        changed(tf.constant(0))
        best = float("inf")
        for _ in range(ROUNDS):
            began = time.process_time()
            for number in range(CALLS):
                changed(tf.constant(number))
            best = min(best, (time.process_time() - began) / CALLS)
        told = ", ".join(f"{key} {value}" for key, value in keys.items())
        sys.stdout.write(f"{told:16} {num / best:10,.0f} pictures/s\n")


if __name__ == "__main__":
    main()
