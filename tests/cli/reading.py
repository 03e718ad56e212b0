"""What a command has printed and written."""

import onnx


def words(text):
    """Text as one line, because long paths make lines wrap."""
    return " ".join(text.split())


def op_types(path):
    """Operators of the main graph of a file."""
    return [node.op_type for node in onnx.load(path).graph.node]
