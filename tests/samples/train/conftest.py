"""The sample's folder is on the path of its tests."""

from collections.abc import Iterator

import pytest

from tests.samples.train.running import TRAIN

torch = pytest.importorskip("torch")


@pytest.fixture(autouse=True)
def _on_the_path(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """The sample's folder is on the path, as when it is run; torch's global settings are put back."""
    monkeypatch.syspath_prepend(str(TRAIN))
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    with torch.random.fork_rng(devices=[]):
        yield
    torch.set_num_threads(threads)
    torch.use_deterministic_algorithms(strict)
