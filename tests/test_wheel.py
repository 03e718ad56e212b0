"""What is installed: every module of the package and nothing that only tests and samples need."""

import zipfile
from pathlib import Path, PurePosixPath

import pytest

import repvgg_onnx

CHECKOUT = Path(repvgg_onnx.__file__).parents[1]


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """Paths in the wheel, without those of its metadata."""
    builders = pytest.importorskip("hatchling.builders.wheel")
    (wheel,) = builders.WheelBuilder(str(CHECKOUT)).build(directory=str(tmp_path_factory.mktemp("wheel")))
    with zipfile.ZipFile(wheel) as archive:
        return {name for name in archive.namelist() if ".dist-info/" not in name}


def test_the_wheel_has_every_module_of_the_package_and_nothing_outside_of_it(content: set[str]) -> None:
    modules = {path.relative_to(CHECKOUT).as_posix() for path in (CHECKOUT / "repvgg_onnx").rglob("*.py")}
    assert {name for name in content if name.endswith(".py")} == modules
    assert {PurePosixPath(name).parts[0] for name in content} == {"repvgg_onnx"}


def test_of_networks_the_wheel_has_repvgg_alone(content: set[str]) -> None:
    zoo = {name.removeprefix("repvgg_onnx/zoo/") for name in content if name.startswith("repvgg_onnx/zoo/")}
    assert zoo == {"__init__.py", "checkpoint.py", "exporting.py", "networks.py", "quiet.py", "repvgg.py"}
