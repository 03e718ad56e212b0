"""Asks two servers the same and compares what they answer; needs numpy only.

Usage: python client.py URL_OF_ORIGINAL URL_OF_FUSED [--inputs ARRAYS.npz] [--batch 32] [--tolerance 1e-5]

Sends every batch as .npy and the first one as JSON too. Prints the largest error, max|a-b| / max|a|, and in how many
rows both see the same class. The exit code is 0 if they agree, 1 if they do not and 3 if a server cannot be asked.
"""

import argparse
import io
import json
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

import numpy as np

NPY = "application/x-npy"
PATIENCE_S = 20.0  # how long a server may take to start


def ask(url: str, body: bytes | None = None, content_type: str = "application/json") -> bytes:
    """The answer of a server; one that is not there yet is waited for."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            request = urllib.request.Request(url, body, {"Content-Type": content_type})
            with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
                return response.read()
        except urllib.error.HTTPError as error:
            raise SystemExit(fail(f"{url}: {error.code} {error.read().decode(errors='replace')}")) from error
        except (urllib.error.URLError, ConnectionError, TimeoutError) as error:
            if time.monotonic() > deadline:
                raise SystemExit(fail(f"{url}: {error}")) from error
            time.sleep(0.05)


def fail(sentence: str) -> int:
    print(f"error: {sentence}", file=sys.stderr)
    return 3


def predict_npy(server: str, array: np.ndarray) -> np.ndarray:
    stream = io.BytesIO()
    np.save(stream, array)
    return np.load(io.BytesIO(ask(f"{server}/predict", stream.getvalue(), NPY)))


def predict_json(server: str, name: str, array: np.ndarray) -> np.ndarray:
    body = json.dumps({"inputs": {name: array.tolist()}}).encode()
    (values,) = json.loads(ask(f"{server}/predict", body))["outputs"].values()
    return np.array(values, dtype=array.dtype)


def batches(spec: dict[str, Any], path: str | None, batch: int) -> Iterator[np.ndarray]:
    """The array of that name in the file, in batches; or one batch of seeded random values."""
    if path is not None:
        array = np.load(path)[spec["name"]]
        yield from (array[start : start + batch] for start in range(0, len(array), batch))
        return
    sizes = [batch if size is None else size for size in spec["shape"]]
    yield np.random.default_rng(0).normal(size=sizes).astype(spec["dtype"])


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Compare the answers of two servers.")
    parser.add_argument("servers", nargs=2, metavar="URL")
    parser.add_argument("--inputs", metavar="ARRAYS.npz")
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--tolerance", type=float, default=1e-5)
    given = parser.parse_args(arguments)
    specs = [json.loads(ask(f"{server}/health"))["inputs"] for server in given.servers]
    if specs[0] != specs[1] or len(specs[0]) != 1:
        return fail("the servers take different inputs, or more than one")
    pairs = []
    for number, array in enumerate(batches(specs[0][0], given.inputs, given.batch)):
        pairs.append([predict_npy(server, array) for server in given.servers])
        if number == 0:
            pairs.append([predict_json(server, specs[0][0]["name"], array) for server in given.servers])
    return compare(pairs, given.tolerance)


def compare(pairs: list[list[np.ndarray]], tolerance: float) -> int:
    """Prints how the answers compare; 0 if they agree."""
    error = max(float(np.abs(one - other).max() / np.abs(one).max()) for one, other in pairs)
    same = sum(int(np.sum(one.argmax(axis=-1) == other.argmax(axis=-1))) for one, other in pairs)
    rows = sum(one[..., 0].size for one, _ in pairs)
    print(f"{rows} rows: same class in {same}, largest error {error:.1e}, tolerance {tolerance:g}")
    return 0 if same == rows and error <= tolerance else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
