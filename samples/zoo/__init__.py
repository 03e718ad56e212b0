"""Networks that tests, benchmarks and other samples need and nobody exports from the command line, in torch.

``blocks`` has linear blocks from the literature, ``baselines`` what the RepVGG paper compares with; ``build`` and
``names`` know the RepVGGs of ``repvgg_onnx.zoo`` as well. Importing this package needs no torch.
"""

from repvgg_onnx.zoo import export
from samples.zoo.building import architecture, build, names, perturb_statistics
from samples.zoo.catalog import BASELINES, BLOCKS
from samples.zoo.deploying import deploy

__all__ = [
    "BASELINES",
    "BLOCKS",
    "architecture",
    "build",
    "deploy",
    "export",
    "names",
    "perturb_statistics",
]
