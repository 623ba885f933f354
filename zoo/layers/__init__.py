"""Layers that the papers use and Keras lacks; each is registered for saving as `zoo>NAME`."""

from __future__ import annotations

from importlib import import_module

from zoo.common import lazy

_EXPORTS = {
    "BedOfNails2D": "zoo.layers.bed_of_nails",
    "CeilMaxPooling2D": "zoo.layers.ceil_pooling",
    "Chains": "zoo.layers.boltzmann",
    "ChannelLPPooling": "zoo.layers.lp_pooling",
    "Detections": "zoo.layers.proposals",
    "DropConnect": "zoo.layers.drop_connect",
    "FractionalMaxPooling2D": "zoo.layers.fractional_pooling",
    "GatedActivation": "zoo.layers.gated",
    "LPPooling2D": "zoo.layers.lp_pooling",
    "LineLSTM": "zoo.layers.line_lstm",
    "LineLSTMCell": "zoo.layers.line_lstm",
    "LocalResponseNormalization": "zoo.layers.lrn",
    "LogMeanProbability": "zoo.layers.log_mean_probability",
    "LocallyConnected1D": "zoo.layers.locally_connected",
    "LocallyConnected2D": "zoo.layers.locally_connected",
    "MaskOfClass": "zoo.layers.masks",
    "MaxPoolingWithIndices2D": "zoo.layers.unpooling",
    "MaxUnpooling2D": "zoo.layers.unpooling",
    "Maxout": "zoo.layers.maxout",
    "MultiLSTM": "zoo.layers.multi_lstm",
    "MultiLSTMCell": "zoo.layers.multi_lstm",
    "NonMaxSuppression": "zoo.layers.suppression",
    "PeepholeLSTM": "zoo.layers.peephole_lstm",
    "PeepholeLSTMCell": "zoo.layers.peephole_lstm",
    "PixelRegions": "zoo.layers.sum_product",
    "ProductNodes": "zoo.layers.sum_product",
    "ProbabilisticMaxPooling2D": "zoo.layers.boltzmann",
    "Proposals": "zoo.layers.proposals",
    "RBFOutput": "zoo.layers.rbf",
    "ROIAlign": "zoo.layers.roi",
    "ROIPooling": "zoo.layers.roi",
    "ScaledTanh": "zoo.layers.lenet_parts",
    "SoftArgmax": "zoo.layers.soft_argmax",
    "StochasticDepth": "zoo.layers.stochastic_depth",
    "Subsampling2D": "zoo.layers.lenet_parts",
    "SumNodes": "zoo.layers.sum_product",
    "SubtractiveNormalization2D": "zoo.layers.subtractive",
    "TableConv2D": "zoo.layers.connection_table",
    "TiedDense": "zoo.layers.tied_dense",
    "VisibleMaps": "zoo.layers.boltzmann",
    "VisibleUnits": "zoo.layers.boltzmann",
    "Windows": "zoo.layers.soft_argmax",
}

__getattr__, __dir__, __all__ = lazy.attach(__name__, _EXPORTS, "register")


def register() -> None:
    """Imports every layer; Keras then loads a saved model that holds one."""
    for module in _EXPORTS.values():
        import_module(module)
