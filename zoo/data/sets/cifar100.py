"""CIFAR-100: 50,000 + 10,000 colour photographs of 32x32 pixels, with their fine classes.

Source: Krizhevsky, "Learning multiple layers of features from tiny images", 2009.
Differs: 45,000 / 5,000 of the 50,000 go to training and validation (`zoo.data.sets.official`).
"""

from __future__ import annotations

import keras

from zoo.data.dataset import DataSet
from zoo.data.sets.official import assemble, download

LABELS = tuple(
    """
    apple aquarium_fish baby bear beaver bed bee beetle bicycle bottle
    bowl boy bridge bus butterfly camel can castle caterpillar cattle
    chair chimpanzee clock cloud cockroach couch crab crocodile cup dinosaur
    dolphin elephant flatfish forest fox girl hamster house kangaroo keyboard
    lamp lawn_mower leopard lion lizard lobster man maple_tree motorcycle mountain
    mouse mushroom oak_tree orange orchid otter palm_tree pear pickup_truck pine_tree
    plain plate poppy porcupine possum rabbit raccoon ray road rocket
    rose sea seal shark shrew skunk skyscraper snail snake spider
    squirrel streetcar sunflower sweet_pepper table tank telephone television tiger tractor
    train trout tulip turtle wardrobe whale willow_tree wolf woman worm
    """.split()  # noqa: SIM905  a list would take a hundred lines
)


def load() -> DataSet:
    """Loads the photographs, (32, 32, 3).

    Raises:
        ConnectionError: The download failed.
    """
    advice = "Connect to the network, or use folder:PATH with images of your own."
    arrays = download("cifar100", keras.datasets.cifar100.load_data, advice=advice)
    return assemble("cifar100", "Keras' download, keras.datasets.cifar100", LABELS, arrays)
