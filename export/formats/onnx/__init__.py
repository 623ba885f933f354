"""ONNX: from Keras, and beside the TFLite file that it comes from."""
