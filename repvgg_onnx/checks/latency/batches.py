"""Sizes of the batch, which is axis 0 of every input."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

from repvgg_onnx.checks.inputs import Shapes, Specs
from repvgg_onnx.checks.session import TensorSpec
from repvgg_onnx.errors import CheckError


def specs_with_batch(specs: Specs, batch: int | None) -> Specs:
    """What the models take, with axis 0 of every input at ``batch``; as it is where that is None.

    Raises:
        CheckError: a model fixes the axis at another size.
    """
    return specs if batch is None else {name: _with_batch(spec, batch) for name, spec in specs.items()}


def shapes_with_batch(shapes: Shapes, batch: int | None) -> Mapping[str, Sequence[int]]:
    """Shapes that the user gave, with axis 0 at ``batch``; as they are where that is None."""
    return shapes if batch is None else {name: (batch, *shape[1:]) for name, shape in shapes.items()}


def _with_batch(spec: TensorSpec, batch: int) -> TensorSpec:
    if not spec.shape:
        return spec
    first = spec.shape[0]
    if isinstance(first, int) and first >= 0 and first != batch:
        raise CheckError(
            f"the model fixes the batch of input {spec.name!r} at {first}, so it cannot run with {batch}: export it "
            "again with a dynamic axis 0 (dynamic_axes or dynamic_shapes of torch.onnx.export)"
        )
    return replace(spec, shape=(batch, *spec.shape[1:]))
