"""Affine convolutions as values: numpy only, and nothing of ONNX."""
