"""The baselines have the published sizes, both forms of them compute the same, and exported they fuse."""

from typing import Any

import pytest

from repvgg_onnx import fuse, verify
from samples.zoo import BASELINES, deploy, export, perturb_statistics
from tests.models import count
from tests.zoo.meta import on_meta

torch = pytest.importorskip("torch")

# Parameters of the training-time form as the releases of torchvision count them.
PARAMETERS = {
    "resnet-18": 11_689_512,
    "resnet-34": 21_797_672,
    "resnet-50": 25_557_032,
    "resnet-101": 44_549_160,
    "resnet-152": 60_192_808,
    "resnext-50": 25_028_904,
    "resnext-101": 44_177_704,
    "vgg-16": 138_357_544,
}
BRANCHES = {  # Conv, BatchNormalization, Add of RepVGG-B0: 28 blocks, 23 of which could keep their input
    "repvgg-b0-plain": (28, 28, 0),
    "repvgg-b0-identity": (28, 51, 23),
    "repvgg-b0-1x1": (56, 56, 28),
    "repvgg-b0": (56, 79, 51),
}


def narrow_resnet(block: str) -> Any:
    from samples.zoo.baselines.resnet import ResNet

    torch.manual_seed(1)
    return perturb_statistics(ResNet((1, 2, 1, 1), block, num_classes=6), 2).eval()


def narrow_pspnet(*, dilated_layers: int | None) -> Any:
    from samples.zoo.baselines.pspnet import PSPHead, backbone

    torch.manual_seed(1)
    features = backbone((1, 1, 1, 4, 1), (4, 6, 8, 8, 12), groups=2, dilated_layers=dilated_layers)
    return perturb_statistics(torch.nn.Sequential(features, PSPHead(12, 6, num_classes=5)), 2).eval()


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters_are_the_published_ones(name: str) -> None:
    assert sum(parameter.numel() for parameter in on_meta(name, deployed=False).parameters()) == PARAMETERS[name]


@pytest.mark.parametrize("entry", BASELINES, ids=lambda entry: entry.name)
def test_the_deployed_form_has_no_normalization_and_the_same_outputs(entry: Any) -> None:
    trained, deployed = (on_meta(entry.name, deployed=deployed) for deployed in (False, True))
    image = torch.zeros(2, *entry.input_shape[1:], device="meta")
    assert trained.eval()(image).shape == deployed.eval()(image).shape
    assert not any(isinstance(child, torch.nn.BatchNorm2d) for child in deployed.modules())


@pytest.mark.parametrize("name", ["resnet-18", "resnet-50", "resnext-50", "repvgg-b0-plain", "repvgg-b0-1x1"])
def test_deploying_gives_the_names_of_the_deployed_form(name: str) -> None:
    deployed = deploy(on_meta(name, deployed=False)).state_dict()
    wanted = on_meta(name, deployed=True).state_dict()
    assert {key: value.shape for key, value in deployed.items()} == {key: value.shape for key, value in wanted.items()}


@pytest.mark.parametrize("block", ["basic", "bottleneck", "aggregated"])
def test_a_residual_network_fuses_to_what_it_deploys_to(block: str) -> None:
    module = narrow_resnet(block)
    original = export(module, shape=(2, 3, 44, 52), fold=False)
    fused = fuse(original).model
    deployed = export(deploy(module).float(), shape=(2, 3, 44, 52))
    assert verify(original, fused, seeds=(0,)).passed
    assert verify(original, deployed, seeds=(0,)).passed
    assert count(fused) == count(deployed)
    assert count(fused)["BatchNormalization"] == 0


@pytest.mark.parametrize("dilated_layers", [None, 3])
def test_dilated_branches_fuse(dilated_layers: int | None) -> None:
    original = export(narrow_pspnet(dilated_layers=dilated_layers), shape=(1, 3, 48, 96), fold=False)
    fused = fuse(original).model
    assert verify(original, fused, seeds=(0,)).passed
    counts = count(fused)
    assert (counts["Conv"], counts["BatchNormalization"], counts["Add"]) == (8 + 4 + 2, 0, 0)


@pytest.mark.parametrize(("name", "dilations"), [
    ("pspnet-repvgg-b1g2", [1] * 11 + [2] * 16 + [4]),
    ("pspnet-repvgg-b1g2-fast", [1] * 23 + [2] * 4 + [4]),
])  # fmt: skip
def test_the_fast_form_dilates_the_last_five_layers_only(name: str, dilations: list[int]) -> None:
    blocks = [child for child in on_meta(name, deployed=True).modules() if hasattr(child, "rbr_reparam")]
    assert [block.dilation for block in blocks] == dilations
    assert [block.groups for block in blocks] == [2 if index in range(2, 27, 2) else 1 for index in range(28)]
    scores = on_meta(name, deployed=True)(torch.zeros(1, 3, 96, 48, device="meta"))
    assert scores.shape == (1, 19, 96, 48)


@pytest.mark.parametrize("name", BRANCHES)
def test_the_branches_of_table_6_are_there(name: str) -> None:
    modules = list(on_meta(name, deployed=False).modules())
    convs = sum(isinstance(module, torch.nn.Conv2d) for module in modules)
    norms = sum(isinstance(module, torch.nn.BatchNorm2d) for module in modules)
    joins = sum(
        (block.rbr_1x1 is not None) + (block.rbr_identity is not None)
        for block in modules
        if hasattr(block, "rbr_dense")
    )
    assert (convs, norms, joins) == BRANCHES[name]


@pytest.mark.parametrize(("identity", "pointwise"), [(False, False), (True, False), (False, True)])
def test_a_block_without_a_branch_deploys_and_fuses(identity: bool, pointwise: bool) -> None:
    from repvgg_onnx.zoo.repvgg import RepVGGBlock

    torch.manual_seed(3)
    options = {"identity": identity, "pointwise": pointwise}
    blocks = torch.nn.Sequential(RepVGGBlock(4, 6, stride=2, **options), RepVGGBlock(6, 6, groups=2, **options))
    module = perturb_statistics(blocks, 4).eval()
    original = export(module, shape=(1, 4, 10, 14), fold=False)
    deployed = export(deploy(module).float(), shape=(1, 4, 10, 14))
    fused = fuse(original).model
    assert count(fused) == {"Conv": 2, "Relu": 2} == count(deployed)
    assert verify(deployed, fused, seeds=(0,)).passed
    assert verify(original, fused, seeds=(0,)).passed
