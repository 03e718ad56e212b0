"""Networks without memory for their weights."""

from typing import Any

from samples.zoo import architecture


def on_meta(name: str, *, deployed: bool) -> Any:
    import torch

    with torch.device("meta"):
        return architecture(name).build(deployed=deployed)
