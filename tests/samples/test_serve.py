"""The server and its client, on loopback: what they agree on, and what the server refuses."""

import io
import json
import os
import select
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import onnx
import pytest

from repvgg_onnx import fuse, save_model
from tests.cli.models import BLOCK, filled
from tests.models import perturbed
from tests.processes import interruptible
from tests.programs import loaded

SAMPLES = Path(__file__).parents[2] / "samples"
SERVE, CLIENT = SAMPLES / "serve" / "serve.py", SAMPLES / "serve" / "client.py"
DIGITS = SAMPLES / "digits" / "digits.onnx"
PATIENCE_S = 60.0
NPY = "application/x-npy"


@contextmanager
def serving(model: Path) -> Iterator[str]:
    """The address of a server of the model, which is stopped with the block."""
    command = [sys.executable, str(SERVE), str(model), "--port", "0"]
    with interruptible(command, text=True) as process:
        try:
            yield first_line(process).split()[-1]
        finally:
            process.send_signal(signal.SIGINT)
            try:
                _, errors = process.communicate(timeout=PATIENCE_S)
            except subprocess.TimeoutExpired:
                process.kill()
                raise
    assert process.returncode == 0
    assert errors == ""


def first_line(process: subprocess.Popen[str]) -> str:
    """What the server says when it listens."""
    assert process.stdout is not None
    assert select.select([process.stdout], [], [], PATIENCE_S)[0], "the server says nothing"
    line = process.stdout.readline()
    assert " at http://127.0.0.1:" in line
    return line


def wait_until_healthy(server: str) -> dict[str, object]:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            with urllib.request.urlopen(f"{server}/health", timeout=PATIENCE_S) as response:
                health: dict[str, object] = json.loads(response.read())
                return health
        except urllib.error.URLError:
            assert time.monotonic() < deadline, "the server does not start"
            time.sleep(0.02)


def post(server: str, body: bytes, content_type: str = "application/json") -> tuple[int, bytes]:
    request = urllib.request.Request(f"{server}/predict", body, {"Content-Type": content_type})
    try:
        with urllib.request.urlopen(request, timeout=PATIENCE_S) as response:
            return response.status, response.read()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read()


def ask_client(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(CLIENT), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S)


def npy(array: np.ndarray, *, allow_pickle: bool = False) -> bytes:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=allow_pickle)
    return stream.getvalue()


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    with serving(DIGITS) as address:
        wait_until_healthy(address)
        yield address


def test_original_and_fused_answer_the_same(server: str, tmp_path: Path) -> None:
    save_model(fuse(DIGITS).model, tmp_path / "fused.onnx")
    with serving(tmp_path / "fused.onnx") as fused:
        done = ask_client(server, fused, "--inputs", str(DIGITS.with_name("digits.npz")))

    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("482 rows: same class in 482, largest error ")


def test_the_client_sees_a_model_that_differs(tmp_path: Path) -> None:
    onnx.save(filled(BLOCK), tmp_path / "block.onnx")
    onnx.save(perturbed(filled(BLOCK)), tmp_path / "wrong.onnx")
    with serving(tmp_path / "block.onnx") as one, serving(tmp_path / "wrong.onnx") as other:
        done = ask_client(one, other, "--batch", "3")

    assert (done.returncode, done.stderr) == (1, "")


def test_health_says_what_is_asked_for(server: str) -> None:
    assert wait_until_healthy(server) == {
        "status": "ok",
        "inputs": [{"name": "image", "dtype": "float32", "shape": [None, 1, 8, 8]}],
        "outputs": [{"name": "logits", "dtype": "float32", "shape": [None, 10]}],
    }


def test_both_forms_give_the_same_answer(server: str) -> None:
    image = np.random.default_rng(0).normal(size=(3, 1, 8, 8)).astype(np.float32)

    code, binary = post(server, npy(image), NPY)
    assert code == 200
    code, text = post(server, json.dumps({"inputs": {"image": image.tolist()}}).encode())
    assert code == 200

    logits = np.load(io.BytesIO(binary))
    assert logits.shape == (3, 10)
    assert np.array_equal(logits, np.array(json.loads(text)["outputs"]["logits"], np.float32))


@pytest.mark.parametrize(
    ("body", "content_type", "code", "told"),
    [
        (b"[[[", "application/json", 400, "no JSON of the form"),
        (b'{"image": 1}', "application/json", 400, "no JSON of the form"),
        (b'{"inputs": {"image": [[1, 2], [3]]}}', "application/json", 400, "no JSON of the form"),
        (b'{"inputs": {"picture": [1]}}', "application/json", 422, "inputs ['image'] are asked for"),
        (b'{"inputs": {"image": [[1.5]]}}', "application/json", 422, "has shape 1x1, not ?x1x8x8"),
        (json.dumps({"inputs": {"image": [[[["a"] * 8] * 8]]}}).encode(), "application/json", 422, "not float32"),
        (b"no array", NPY, 400, "no .npy array"),
        (npy(np.array([object()]), allow_pickle=True), NPY, 400, "no .npy array"),
        (npy(np.zeros((0, 1, 8, 8), np.float32)), NPY, 422, "has shape 0x1x8x8"),
        (npy(np.zeros((1, 1, 8, 8), np.complex64)), NPY, 422, "not float32"),
        (npy(np.full((1, 1, 8, 8), np.inf, np.float32))[:-9], NPY, 400, "no .npy array"),
        (bytes(64 * 2**20 + 1), NPY, 413, "larger than"),
    ],
    ids=range(12),
)
def test_what_does_not_fit_is_refused(server: str, body: bytes, content_type: str, code: int, told: str) -> None:
    answered, answer = post(server, body, content_type)

    assert answered == code
    assert told in json.loads(answer)["detail"]


def test_an_output_that_json_cannot_hold_is_refused(server: str) -> None:
    body = json.dumps({"inputs": {"image": [[[[1e38] * 8] * 8]]}}).encode()

    code, answer = post(server, body)

    assert (code, "NaN or infinity" in json.loads(answer)["detail"]) == (422, True)


def test_a_file_that_is_no_model_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "net.onnx").write_bytes(b"nonsense")
    command = [sys.executable, str(SERVE), str(tmp_path / "net.onnx")]

    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_S, env=os.environ)

    assert (done.returncode, done.stdout) == (3, "")
    assert done.stderr.startswith(f"error: {tmp_path / 'net.onnx'}: ")
    assert done.stderr.count("\n") == 1


def test_numbers_that_the_models_integers_cannot_hold_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    serve = loaded(SERVE, monkeypatch)
    pixels = serve.Spec("x", "int8", (None,))

    assert pixels.check(np.array([1, -2])).dtype == np.int8
    with pytest.raises(serve.HTTPException, match="holds numbers that int8 cannot"):
        pixels.check(np.array([300]))
