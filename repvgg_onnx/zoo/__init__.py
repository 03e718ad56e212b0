"""RepVGG in torch and its ONNX export; the only importer of torch.

Importing this package needs no torch; building and exporting do. ``repvgg_onnx.zoo.repvgg`` holds the torch classes and
is only imported by the functions that need it.
"""

from repvgg_onnx.zoo.exporting import export
from repvgg_onnx.zoo.networks import Architecture, architecture, build, describe, names

__all__ = ["Architecture", "architecture", "build", "describe", "export", "names"]
