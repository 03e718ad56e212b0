"""Programs of the samples, which are no packages, as modules."""

import importlib.util
import sys
from pathlib import Path
from types import ModuleType

import pytest

SAMPLES = Path(__file__).parents[1] / "samples"


def loaded(path: Path, patch: pytest.MonkeyPatch, name: str | None = None) -> ModuleType:
    """The program as a module, under its own name or another one; its folder is on the path, as when it is run."""
    patch.syspath_prepend(str(path.parent))
    spec = importlib.util.spec_from_file_location(name or path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    patch.setitem(sys.modules, spec.name, module)  # where dataclasses look for their module
    spec.loader.exec_module(module)
    return module
