"""``python -m repvgg_onnx`` is ``repvgg-onnx``."""

from repvgg_onnx.cli import main

main()
