"""What any ONNX model is made of, and what one run of it takes, counted without touching a weight."""

from repvgg_onnx.census.profiling import profile
from repvgg_onnx.census.results import Layer, Profile
from repvgg_onnx.census.stored import Census, census

__all__ = ["Census", "Layer", "Profile", "census", "profile"]
