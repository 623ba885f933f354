"""Linear models: one weighted sum of the inputs, and a bias, for each output.

The same net is five models; what makes one of them is its loss, which the recipe sets:

    linear              cross_entropy: softmax regression (multinomial logistic regression)
    linear_svm          multiclass_svm (Weston & Watkins 1999, ESANN 7)
    logistic_regression binary_cross_entropy: the output is the logit of a yes (Cox 1958)
    perceptron          perceptron (Rosenblatt 1958, Psychological Review 65(6))
    linear_regression   mse: least squares (Legendre 1805)

Source: LeCun et al. 1998, Gradient-based learning applied to document recognition, Proc. IEEE
86(11), section III-C: 7,850 parameters on MNIST. Differs: the paper takes the largest sum and
squared errors; the association units of Rosenblatt's perceptron, wired at random and not trained,
are left out.
"""

from __future__ import annotations

import keras
from keras import layers

TAKES_ROWS = True  # of a table too: the input is flattened


def linear(*, name: str, input_shape: tuple[int, ...], num_classes: int) -> keras.Model:
    """Returns a linear model: (batch, height, width, channels) or (batch, features) to outputs.

    Args:
        name: Name of the model.
        input_shape: (height, width, channels), or (features,).
        num_classes: Length of the output; 1 for a number, or for a yes or no.
    """
    image = keras.Input(input_shape, name="image" if len(input_shape) == 3 else "features")
    x = layers.Flatten(name="flatten")(image)  # (batch, height * width * channels)
    logits = layers.Dense(num_classes, dtype="float32", name="logits")(x)
    return keras.Model(image, logits, name=name)
