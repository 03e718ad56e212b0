"""A layer's weights read off a function are those of the layer that computes it, whatever the geometry."""

from functools import partial
from typing import Any

import pytest

from samples.zoo import build, deploy

torch = pytest.importorskip("torch")

from torch import nn  # noqa: E402

from samples.zoo.folding import Foldable, fold_into  # noqa: E402

LAYERS = {
    "linear": (nn.Linear, (5, 3), {}),
    "conv": (nn.Conv2d, (4, 6, (3, 5)), {"padding": (1, 2)}),
    "conv without padding": (nn.Conv2d, (4, 6, (3, 2)), {}),
    "strided": (nn.Conv2d, (4, 6, 3), {"stride": (2, 3), "padding": 1}),
    "dilated": (nn.Conv2d, (4, 6, (3, 2)), {"dilation": (2, 3), "padding": (2, 1)}),
    "grouped": (nn.Conv2d, (4, 6, 3), {"groups": 2, "padding": 1}),
    "depthwise with multiplier": (nn.Conv2d, (4, 8, 3), {"groups": 4, "stride": 2, "padding": 1}),
    "1-D": (nn.Conv1d, (4, 6, 5), {"dilation": 2, "padding": 4}),
    "3-D": (nn.Conv3d, (2, 4, (1, 3, 2)), {"groups": 2, "padding": (0, 1, 0)}),
    "transposed": (nn.ConvTranspose2d, (4, 6, (4, 3)), {"stride": 2, "padding": 1}),
    "transposed grouped": (nn.ConvTranspose2d, (4, 6, 3), {"groups": 2, "stride": (2, 1), "dilation": (1, 2)}),
}


@pytest.mark.parametrize("name", LAYERS)
def test_a_layer_is_read_off_itself(name: str) -> None:
    kind, sizes, options = LAYERS[name]
    torch.manual_seed(1)
    layer = kind(*sizes, **options).double()
    found = fold_into(kind(*sizes, **options, device="meta"), layer, torch.float64)
    assert found.weight.shape == layer.weight.shape
    torch.testing.assert_close(found.weight, layer.weight, rtol=0, atol=1e-14)
    torch.testing.assert_close(found.bias, layer.bias, rtol=0, atol=1e-14)


def branched() -> Any:
    torch.manual_seed(2)
    body = nn.Sequential(nn.Conv2d(3, 4, 1), nn.Conv2d(4, 5, (3, 1)), nn.BatchNorm2d(5)).eval()
    return Foldable(body, partial(nn.Conv2d, 3, 5, (3, 1)))


def test_the_deployed_form_has_the_type_of_the_body() -> None:
    assert branched().deployed_form().weight.dtype == torch.float32
    assert branched().double().deployed_form().weight.dtype == torch.float64


def test_deploying_draws_no_random_numbers_and_works_without_gradients() -> None:
    block = branched()
    before = torch.get_rng_state()
    with torch.no_grad():
        layer = deploy(block)
    assert torch.equal(torch.get_rng_state(), before)
    x = torch.randn(1, 3, 7, 5, dtype=torch.float64)
    torch.testing.assert_close(layer(x), block.double()(x), rtol=0, atol=1e-12)


@pytest.mark.parametrize("name", ["mobileone-block", "transposed-block"])
def test_both_forms_of_one_seed_compute_the_same(name: str) -> None:
    trained, deployed, other = build(name, seed=3), build(name, deployed=True, seed=3), build(name, seed=4)
    x = torch.randn(1, 3, 20, 28, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected, found, different = trained(x), deployed(x), other(x)
    assert not deployed.training
    assert (found - expected).abs().max() <= 1e-5 * expected.abs().max()
    assert (different - expected).abs().max() >= 1e-2 * expected.abs().max()
