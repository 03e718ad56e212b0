"""Programs that use repvgg_onnx; a package only so that they find ``samples.zoo`` when run from a checkout."""
