"""The weights of one layer, read off a part of a network that computes the same."""

# torch is an optional dependency, so its classes are untyped for the type checker.
# mypy: allow-subclassing-any

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

Function = Callable[[Tensor], Tensor]


class Foldable(nn.Module):
    """A part of a network that is one layer at inference.

    Args:
        body: what is trained.
        layer: makes the layer that replaces it, with a bias.
    """

    def __init__(self, body: nn.Module, layer: Callable[[], nn.Module]) -> None:
        super().__init__()
        self.body, self.layer = body, layer

    def forward(self, x: Tensor) -> Tensor:
        """What ``body`` computes."""
        return self.body(x)

    def deployed_form(self) -> nn.Module:
        """The layer with the weights of ``body``, in the type that it has; ``body`` must be in eval mode."""
        with torch.device("meta"):  # initial weights would only be thrown away
            layer = self.layer()
        return fold_into(layer, self.body, next(self.body.parameters()).dtype)


def fold_into(layer: nn.Module, function: Function, dtype: torch.dtype) -> nn.Module:
    """``layer`` itself, with the weight and bias by which it computes ``function``.

    The bias of an affine map is its value at zero and its kernel is its derivative, so nothing needs to be known of how
    ``function`` is written. Both are taken in the interior; only if ``function`` treats the border as ``layer``
    does are the two equal everywhere.

    Args:
        layer: a Linear, a ConvNd or a ConvTransposeNd with a bias; its weights may be on the meta device.
        function: an affine map of the layer's geometry; it sees inputs n  c_in  *size (n  c_in for a Linear).
        dtype: type of the weights.
    """
    read = _transposed_taps if isinstance(layer, nn.modules.conv._ConvTransposeNd) else _taps
    taps, bias = read(layer, function, dtype)
    layer.weight = nn.Parameter(_diagonal_blocks(taps, getattr(layer, "groups", 1)))
    layer.bias = nn.Parameter(bias.clone())
    return layer


def _taps(layer: nn.Module, function: Function, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """The derivative c_out  c_in  *k of one output position, and its value c_out at zero."""
    if isinstance(layer, nn.Linear):
        return _slopes(function, torch.zeros(1, layer.in_features, dtype=dtype))
    spans = _spans(layer)
    starts = [span * stride - pad for span, stride, pad in zip(spans, layer.stride, layer.padding, strict=True)]
    sizes = [start + 2 * span for start, span in zip(starts, spans, strict=True)]
    slopes, values = _slopes(function, torch.zeros(1, layer.in_channels, *sizes, dtype=dtype), spans)
    return slopes[_windows(layer, starts)], values


def _slopes(function: Function, zeros: Tensor, position: tuple[int, ...] = ()) -> tuple[Tensor, Tensor]:
    """The derivative c_out  c_in  *size of the output at ``position``, and that output: c_out."""
    with torch.enable_grad():
        image = zeros.requires_grad_()
        values = function(image)[0][_spatial(position)]
        slopes = [torch.autograd.grad(value, image, retain_graph=True)[0][0] for value in values]
    return torch.stack(slopes), values.detach()


def _transposed_taps(layer: nn.Module, function: Function, dtype: torch.dtype) -> tuple[Tensor, Tensor]:
    """What one input position adds to the outputs, c_in  c_out  *k, and what they are without it: c_out."""
    spans = _spans(layer)
    impulses = torch.zeros(layer.in_channels + 1, layer.in_channels, *(2 * span + 1 for span in spans), dtype=dtype)
    impulses[_spatial(spans)].fill_diagonal_(1)
    with torch.no_grad():
        responses = function(impulses)
    starts = [span * stride - pad for span, stride, pad in zip(spans, layer.stride, layer.padding, strict=True)]
    taps = (responses[:-1] - responses[-1])[_windows(layer, starts)]
    return taps, responses[-1][_spatial(spans)]


def _spans(layer: nn.Module) -> tuple[int, ...]:
    """Positions from the first tap to the last, both included, on each axis."""
    return tuple(step * (taps - 1) + 1 for taps, step in zip(layer.kernel_size, layer.dilation, strict=True))


def _windows(layer: nn.Module, starts: list[int]) -> Any:
    """An index of the taps on the spatial axes, from ``starts`` on."""
    axes = zip(starts, _spans(layer), layer.dilation, strict=True)
    return _spatial([slice(start, start + span, step) for start, span, step in axes])


def _spatial(index: Sequence[int | slice]) -> Any:
    """An index into the spatial axes, which come last."""
    return (Ellipsis, *index)


def _diagonal_blocks(taps: Tensor, groups: int) -> Tensor:
    """Of ``taps`` (rows  columns  *k) each row's own group: rows  columns/groups  *k."""
    blocks = taps.unflatten(1, (groups, -1)).unflatten(0, (groups, -1))
    each = torch.arange(groups)
    return blocks[each, :, each].flatten(0, 1)
