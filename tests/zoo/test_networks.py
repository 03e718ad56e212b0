"""The networks agree with the paper, with the release's names, and with their own deployed form."""

import math
from typing import Any

import pytest

from repvgg_onnx.zoo import architecture, build
from samples.zoo import deploy, perturb_statistics
from tests.zoo.meta import on_meta

torch = pytest.importorskip("torch")

A, B, D = [1, 2, 4, 14, 1], [1, 4, 6, 16, 1], [1, 8, 14, 24, 1]

# Tables 2 and 3 of the paper (arXiv 2101.03697), D2se from the release: layers and widths of the five stages.
STAGES = {
    "repvgg-a0": (A, [48, 48, 96, 192, 1280]),
    "repvgg-a1": (A, [64, 64, 128, 256, 1280]),
    "repvgg-a2": (A, [64, 96, 192, 384, 1408]),
    "repvgg-b0": (B, [64, 64, 128, 256, 1280]),
    "repvgg-b1": (B, [64, 128, 256, 512, 2048]),
    "repvgg-b1g2": (B, [64, 128, 256, 512, 2048]),
    "repvgg-b1g4": (B, [64, 128, 256, 512, 2048]),
    "repvgg-b2": (B, [64, 160, 320, 640, 2560]),
    "repvgg-b2g2": (B, [64, 160, 320, 640, 2560]),
    "repvgg-b2g4": (B, [64, 160, 320, 640, 2560]),
    "repvgg-b3": (B, [64, 192, 384, 768, 2560]),
    "repvgg-b3g2": (B, [64, 192, 384, 768, 2560]),
    "repvgg-b3g4": (B, [64, 192, 384, 768, 2560]),
    "repvgg-d2se": (D, [64, 160, 320, 640, 2560]),
}

# Tables 4 and 5: millions of parameters, which the paper cuts after the second decimal (A0 has 8,309,384).
PARAMETERS_M = {
    "repvgg-a0": 8.30, "repvgg-a1": 12.78, "repvgg-b0": 14.33, "repvgg-a2": 25.49, "repvgg-b1g4": 36.12,
    "repvgg-b1g2": 41.36, "repvgg-b1": 51.82, "repvgg-b2g4": 55.77, "repvgg-b2": 80.31, "repvgg-b3g4": 75.62,
    "repvgg-b3": 110.96,
}  # fmt: skip


def blocks_of(module: Any) -> list[Any]:
    return [child for child in module.modules() if hasattr(child, "deployed_form")]


@pytest.mark.parametrize("name", PARAMETERS_M)
def test_deployed_parameters_are_those_of_the_paper(name: str) -> None:
    count = sum(parameter.numel() for parameter in on_meta(name, deployed=True).parameters())
    assert math.floor(count / 1e4) / 100 == PARAMETERS_M[name]


@pytest.mark.parametrize("deployed", [False, True])
@pytest.mark.parametrize("name", STAGES)
def test_layers_and_widths_are_those_of_the_paper(name: str, deployed: bool) -> None:
    module = on_meta(name, deployed=deployed)
    layers, widths = STAGES[name]
    stages = [blocks_of(module.get_submodule(f"stage{index}")) for index in range(5)]
    assert [len(stage) for stage in stages] == layers
    assert [{block.out_channels for block in stage} for stage in stages] == [{width} for width in widths]
    assert [[block.stride for block in stage] for stage in stages] == [[2] + [1] * (n - 1) for n in layers]


@pytest.mark.parametrize("name", STAGES)
def test_every_other_layer_from_the_third_is_groupwise(name: str) -> None:
    groups = 4 if name.endswith("g4") else 2 if name.endswith("g2") else 1
    found = [block.groups for block in blocks_of(on_meta(name, deployed=False))]
    assert found == [groups if index in range(2, 27, 2) else 1 for index in range(len(found))]


def test_feature_maps_halve_five_times() -> None:
    module, sizes = on_meta("repvgg-b1g4", deployed=True), []
    for index in range(5):
        module.get_submodule(f"stage{index}").register_forward_hook(
            lambda _module, _inputs, output: sizes.append(tuple(output.shape[2:]))
        )
    scores = module(torch.zeros(2, 3, 224, 160, device="meta"))
    assert sizes == [(112, 80), (56, 40), (28, 20), (14, 10), (7, 5)]
    assert scores.shape == (2, 1000)


def test_names_of_the_training_time_state_dict_are_those_of_the_release() -> None:
    shapes = {name: tuple(value.shape) for name, value in on_meta("repvgg-a0", deployed=False).state_dict().items()}
    assert shapes["stage0.rbr_dense.conv.weight"] == (48, 3, 3, 3)
    assert shapes["stage1.0.rbr_dense.conv.weight"] == (48, 48, 3, 3)
    assert shapes["stage1.1.rbr_1x1.conv.weight"] == (48, 48, 1, 1)
    assert shapes["stage1.1.rbr_1x1.bn.running_var"] == (48,)
    assert shapes["stage3.13.rbr_identity.running_mean"] == (192,)
    assert shapes["stage4.0.rbr_dense.bn.num_batches_tracked"] == ()
    assert shapes["linear.weight"] == (1000, 1280)
    assert sum(name.endswith("rbr_identity.weight") for name in shapes) == 17
    assert not any("rbr_identity" in name for name in shapes if name.startswith(("stage0.", "stage4.")))
    assert len(shapes) == 44 * 6 + 17 * 5 + 2


def test_names_of_the_deployed_state_dict_are_those_of_the_release() -> None:
    state = on_meta("repvgg-a0", deployed=True).state_dict()
    assert tuple(state["stage0.rbr_reparam.weight"].shape) == (48, 3, 3, 3)
    assert tuple(state["stage3.13.rbr_reparam.bias"].shape) == (192,)
    assert len(state) == 22 * 2 + 2


@pytest.mark.parametrize("deployed", [False, True])
def test_d2se_squeezes_every_block_to_a_sixteenth(deployed: bool) -> None:
    state = on_meta("repvgg-d2se", deployed=deployed).state_dict()
    assert tuple(state["stage0.se.down.weight"].shape) == (4, 64, 1, 1)
    assert tuple(state["stage3.5.se.up.weight"].shape) == (640, 40, 1, 1)
    assert sum(name.endswith("se.down.bias") for name in state) == 48


@pytest.fixture(params=["repvgg-a0", "repvgg-b1g4", "repvgg-d2se"])
def small(request: pytest.FixtureRequest) -> Any:
    """The named network's block structure with two blocks a stage and narrow stages, perturbed, in float64."""
    from repvgg_onnx.zoo.repvgg import RepVGG

    torch.manual_seed(3)
    options = architecture(request.param).options
    module = RepVGG(
        (2, 2, 1),
        (16, 32, 32, 48),
        (2, 1, 2, 1),
        groups=options["groups"],
        num_classes=6,
        squeeze_excite=options["squeeze_excite"],
    )
    return perturb_statistics(module, 5).double().eval()


def test_the_deployed_form_computes_the_same(small: Any) -> None:
    image = torch.randn(2, 3, 37, 26, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    deployed = deploy(small)
    with torch.no_grad():
        expected, found = small(image), deployed(image)
    assert expected.std() > 1e-3
    assert (found - expected).abs().max() <= 1e-10 * expected.abs().max()
    assert not any(isinstance(child, torch.nn.BatchNorm2d) for child in deployed.modules())


def test_deploying_twice_is_deploying_once(small: Any) -> None:
    once = deploy(small).state_dict()
    twice = deploy(deploy(small)).state_dict()
    assert once.keys() == twice.keys()
    assert all(torch.equal(once[name], twice[name]) for name in once)


def test_a_whole_network_deploys_to_the_names_of_its_deployed_form() -> None:
    module = perturb_statistics(build("repvgg-a0"), 2)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    deployed = deploy(module)
    assert deployed.state_dict().keys() == on_meta("repvgg-a0", deployed=True).state_dict().keys()
    assert {value.dtype for value in deployed.state_dict().values()} == {torch.float64}
    assert all(torch.equal(value, before[name]) for name, value in module.state_dict().items())
    image = torch.randn(1, 3, 64, 96, dtype=torch.float64, generator=torch.Generator().manual_seed(4))
    with torch.no_grad():
        expected, found = module.double()(image), deployed(image)
    assert (found - expected).abs().max() <= 1e-10 * expected.abs().max()


def test_a_single_block_deploys() -> None:
    from repvgg_onnx.zoo.repvgg import RepVGGBlock

    torch.manual_seed(2)
    block = perturb_statistics(RepVGGBlock(4, 6, stride=2, dilation=2, groups=2), 1).double().eval()
    x = torch.randn(1, 4, 9, 11, dtype=torch.float64)
    torch.testing.assert_close(deploy(block)(x), block(x), rtol=0, atol=1e-12)


def test_deploying_leaves_the_module_in_training_mode() -> None:
    from repvgg_onnx.zoo.repvgg import RepVGGBlock

    block = RepVGGBlock(4, 6)
    assert not deploy(block).training
    assert block.training
    assert block.rbr_dense.conv.weight.dtype == torch.float32


def test_build_is_seeded_and_leaves_the_random_state_alone() -> None:
    before = torch.get_rng_state()
    first, again, other = (build("repvgg-a0", seed=seed).stage0.rbr_dense.conv.weight for seed in (1, 1, 2))
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


def test_build_gives_eval_mode_and_the_classes_asked_for() -> None:
    module = build("repvgg-a0", deployed=True, num_classes=6)
    assert not any(child.training for child in module.modules())
    assert module.linear.out_features == 6


def test_perturbed_normalizations_are_far_from_the_identity() -> None:
    module = perturb_statistics(build("repvgg-a0"), 1)
    norm = module.stage1[1].rbr_identity
    for tensor, plain in ((norm.running_mean, 0), (norm.running_var, 1), (norm.weight, 1), (norm.bias, 0)):
        assert (tensor - plain).abs().mean() > 0.1
    assert norm.running_var.min() > 0
    assert norm.weight.min() < 0 < norm.weight.max()
    again = perturb_statistics(build("repvgg-a0"), 1).stage1[1].rbr_identity
    assert torch.equal(norm.running_mean, again.running_mean)
