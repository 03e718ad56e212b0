"""Training-time architectures in torch and their ONNX export; the only importer of torch.

Importing this package needs no torch; building, deploying and exporting do. A module of the zoo that holds torch
classes (such as ``repvgg_onnx.zoo.repvgg``) is only imported by the functions that need it.
"""

from repvgg_onnx.zoo.architecture import Architecture
from repvgg_onnx.zoo.building import build, perturb_statistics
from repvgg_onnx.zoo.deploying import deploy
from repvgg_onnx.zoo.exporting import export
from repvgg_onnx.zoo.registry import architecture, describe, names

__all__ = ["Architecture", "architecture", "build", "deploy", "describe", "export", "names", "perturb_statistics"]
