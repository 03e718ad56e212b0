"""ONNX in and out: loading, normal form, a typed view, saving."""
