"""Small models on disk, for tests of the command line."""

import re

import numpy as np
import onnx

from tests.models import unchecked

HEADER = '<ir_version: 8, opset_import: ["" : 17]>'

BLOCK = f"""{HEADER}
net (float[N, 4, 5, 7] image) => (float[N, 4, 5, 7] out) {{
    dense = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (image, kernel3, bias3)
    point = Conv <kernel_shape = [1, 1]> (image, kernel1, bias1)
    skip = BatchNormalization (image, gamma, beta, mean, var)
    both = Add (dense, point)
    all = Add (both, skip)
    out = Relu (all)
}}"""

PLAIN = f"""{HEADER}
net (float[N, 4, 5, 7] image) => (float[N, 4, 5, 7] out) {{
    dense = Conv <kernel_shape = [3, 3], pads = [1, 1, 1, 1]> (image, kernel3, bias3)
    out = Relu (dense)
}}"""

SHAPES = {
    "kernel3": (4, 4, 3, 3),
    "bias3": (4,),
    "kernel1": (4, 4, 1, 1),
    "bias1": (4,),
    "gamma": (4,),
    "beta": (4,),
    "mean": (4,),
    "var": (4,),
}


def filled(text, seed=0):
    """The model that the text describes, with random weights; variances are positive."""
    rng = np.random.default_rng(seed)
    used = {name: shape for name, shape in SHAPES.items() if re.search(rf"\b{name}\b", text)}
    drawn = {
        name: rng.uniform(0.5, 1.5, shape) if name == "var" else rng.normal(size=shape) for name, shape in used.items()
    }
    return unchecked(text, **{name: values.astype(np.float32) for name, values in drawn.items()})


def two_and_one(folder):
    """Two models to fold, a.onnx and b.onnx, and one without anything to fold, c.onnx, in a new folder."""
    folder.mkdir()
    for number, (name, text) in enumerate((("a.onnx", BLOCK), ("b.onnx", BLOCK), ("c.onnx", PLAIN))):
        onnx.save(filled(text, number), folder / name)
