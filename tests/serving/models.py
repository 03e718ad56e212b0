"""Small models that differ in what they take, give and need."""

import numpy as np
import onnx
from onnx.external_data_helper import convert_model_to_external_data

from tests.models import unchecked

HEADER = '<ir_version: 8, opset_import: ["" : 17]>'


def parsed(graph, header=HEADER):
    """The model that the parser text stands for."""
    return unchecked(header + graph)


def conv(batch="N", width="7", kind="float"):
    """A 5x5 convolution from 4 to 6 channels of images 5 high."""
    shapes = f"({kind}[{batch}, 4, 5, {width}] image) => ({kind}[{batch}, 6, 5, {width}] out)"
    text = f"{HEADER} net {shapes} {{ out = Conv <kernel_shape = [5, 5], pads = [2, 2, 2, 2]> (image, kernel) }}"
    dtype = {"float": np.float32, "float16": np.float16, "double": np.float64}[kind]
    return unchecked(text, dtype=dtype, kernel=(6, 4, 5, 5))


def saved_with_side_file(path):
    """The convolution with its kernel in a side file; what it was saved as."""
    model = conv()
    convert_model_to_external_data(model, location="weights.bin", size_threshold=0)
    onnx.save(model, path)
    return path
