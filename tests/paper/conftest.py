"""The modules of ``samples/paper``, which is no package: its folder stands on the path, as when it is run."""

from pathlib import Path

import pytest

PAPER = Path(__file__).parents[2] / "samples" / "paper"


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(PAPER))
