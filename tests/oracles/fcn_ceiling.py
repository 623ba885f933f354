"""What an FCN's coarse answer can tell of scenes of digits: a mean IoU that knows the truth.

    python tests/oracles/fcn_ceiling.py [--stride 8] [--pictures 60] [--steps 300]

Scores on cells of `stride` pixels are fitted to each of the first test pictures' own truth, by
gradient descent on the cross-entropy behind FCN's own bilinear upsampling. A network has to guess
what these are told; another loss than the cross-entropy may trade some pixels for rare classes.
"""

import argparse
import os
import sys
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
sys.path.insert(0, str(Path(__file__).parents[2]))

import keras
import numpy as np
import tensorflow as tf

from zoo.data.loading import load
from zoo.metrics.segmentation import count_pixels, mean_iou
from zoo.models.fcn import bilinear

RATE = 0.3  # of Adam


def fitted(masks, classes, stride, steps):
    """The mean IoU of scores that are fitted to masks (n, side, side)."""
    num, side = masks.shape[:2]
    kernel = tf.constant(bilinear(2 * stride, classes))
    scores = tf.Variable(tf.zeros((num, side // stride, side // stride, classes)))
    optimizer = keras.optimizers.Adam(RATE)

    @tf.function
    def step():
        with tf.GradientTape() as tape:
            shape = (num, side, side, classes)
            logits = tf.nn.conv2d_transpose(scores, kernel, shape, stride, "SAME")
            each = tf.nn.sparse_softmax_cross_entropy_with_logits(masks.astype("int32"), logits)
            loss = tf.reduce_mean(each)
        optimizer.apply_gradients([(tape.gradient(loss, scores), scores)])
        return tf.argmax(logits, axis=-1)

    for _ in range(steps):
        guesses = step()
    return mean_iou(count_pixels(masks, guesses.numpy().astype(np.uint8), classes))


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--stride", type=int, default=8)
    parser.add_argument("--pictures", type=int, default=60)
    parser.add_argument("--steps", type=int, default=300)
    arguments = parser.parse_args()
    data = load("digit_scenes", size=64)
    classes = len(data.columns["mask"].names)
    masks = data.test["mask"][: arguments.pictures]
    found = fitted(masks, classes, arguments.stride, arguments.steps)
    sys.stdout.write(f"{found:.4f}\n")


if __name__ == "__main__":
    main()
