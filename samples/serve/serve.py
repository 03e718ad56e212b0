"""Serves one ONNX model over HTTP; needs fastapi, uvicorn, onnxruntime and numpy only.

Usage: python serve.py MODEL.onnx [--host 127.0.0.1] [--port 8000] [--threads 1]

GET /health says what the model takes and gives. POST /predict runs it on JSON, {"inputs": {"image": [[...]]}}, or, if
it has one input and one output, on an array as .npy (Content-Type: application/x-npy). The answer has the same form.
"""

import argparse
import contextlib
import io
import json
import sys
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import onnxruntime
import uvicorn
from fastapi import FastAPI, HTTPException, Request, Response
from fastapi.concurrency import run_in_threadpool

NPY = "application/x-npy"
LARGEST_BODY = 64 * 2**20  # bytes
DTYPES = {
    "tensor(float)": np.float32,
    "tensor(double)": np.float64,
    "tensor(float16)": np.float16,
    "tensor(bool)": np.bool_,
    **{f"tensor({name})": np.dtype(name) for name in ("int8", "int16", "int32", "int64")},
    **{f"tensor({name})": np.dtype(name) for name in ("uint8", "uint16", "uint32", "uint64")},
}


@dataclass(frozen=True)
class Spec:
    """What the model says of an input or output; an axis is a size, or None where any size will do."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]

    @classmethod
    def of(cls, tensor: Any) -> "Spec":
        """The spec of what onnxruntime says.

        Raises:
            ValueError: the type is one that this server does not know.
        """
        if tensor.type not in DTYPES:
            raise ValueError(f"{tensor.name!r} is of type {tensor.type}, which this server does not know")
        sizes = tuple(size if isinstance(size, int) else None for size in tensor.shape)
        return cls(tensor.name, np.dtype(DTYPES[tensor.type]).name, sizes)

    def check(self, array: np.ndarray) -> np.ndarray:
        """The array in the model's type.

        Raises:
            HTTPException: it does not fit.
        """
        fits = array.ndim == len(self.shape) and all(
            size in (None, given) for size, given in zip(self.shape, array.shape, strict=True)
        )
        if not fits or not array.size:
            raise refusal(422, f"input {self.name!r} has shape {written(array.shape)}, not {written(self.shape)}")
        if not np.can_cast(array.dtype, self.dtype, "same_kind"):
            raise refusal(422, f"input {self.name!r} is of type {array.dtype}, not {self.dtype}")
        cast = array.astype(self.dtype)
        if cast.dtype.kind in "iu" and not np.array_equal(cast, array):
            raise refusal(422, f"input {self.name!r} holds numbers that {self.dtype} cannot")
        return cast


def written(shape: tuple[int | None, ...]) -> str:
    """A shape as people write it; a free axis is a question mark."""
    return "x".join("?" if size is None else str(size) for size in shape) or "of a scalar"


def refusal(code: int, sentence: str) -> HTTPException:
    return HTTPException(code, sentence)


def create_app(model: str, threads: int) -> FastAPI:
    """The application that serves a model file.

    Raises:
        Exception: onnxruntime cannot load the model; its exceptions have no common base.
        ValueError: the model takes or gives something else than tensors of numbers.
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    inputs = [Spec.of(tensor) for tensor in session.get_inputs()]
    outputs = [Spec.of(tensor) for tensor in session.get_outputs()]
    app = FastAPI(title="repvgg-onnx sample server", docs_url=None, redoc_url=None)

    @app.get("/health")
    def health() -> dict[str, Any]:
        return {"status": "ok", "inputs": [*map(asdict, inputs)], "outputs": [*map(asdict, outputs)]}

    @app.post("/predict")
    async def predict(request: Request) -> Response:
        as_npy = request.headers.get("content-type", "").split(";")[0].strip() == NPY
        if as_npy and (len(inputs) > 1 or len(outputs) > 1):
            raise refusal(415, f"{NPY} is for models of one input and one output; send JSON")
        body = await read_body(request)
        feed = {inputs[0].name: from_npy(body)} if as_npy else from_json(body)
        require_names(feed, inputs)
        checked = {spec.name: spec.check(feed[spec.name]) for spec in inputs}
        results = await run_in_threadpool(run, session, checked)
        return npy_response(results[0]) if as_npy else json_response(dict(zip(outputs, results, strict=True)))

    return app


async def read_body(request: Request) -> bytes:
    """The body, unless it is too large."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > LARGEST_BODY:
            raise refusal(413, f"the body is larger than {LARGEST_BODY} bytes")
    return bytes(body)


def from_npy(body: bytes) -> np.ndarray:
    """The array in a .npy body; nothing is unpickled."""
    try:
        return np.load(io.BytesIO(body), allow_pickle=False)
    except (ValueError, EOFError, OSError, MemoryError) as error:
        raise refusal(400, f"the body is no .npy array: {error}") from error


def from_json(body: bytes) -> dict[str, np.ndarray]:
    """The arrays in a JSON body, by input name."""
    try:
        inputs = json.loads(body)["inputs"]
        return {name: np.array(values) for name, values in inputs.items()}
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise refusal(400, 'the body is no JSON of the form {"inputs": {"name": [[...]]}}') from error


def require_names(feed: dict[str, np.ndarray], inputs: list[Spec]) -> None:
    """The inputs that were sent are the model's."""
    wanted = {spec.name for spec in inputs}
    if feed.keys() != wanted:
        raise refusal(422, f"inputs {sorted(wanted)} are asked for, and {sorted(feed)} were sent")


def run(session: onnxruntime.InferenceSession, feed: dict[str, np.ndarray]) -> list[np.ndarray]:
    """One run of the model; what onnxruntime does not accept is the caller's mistake."""
    try:
        return session.run(None, feed)
    except Exception as error:  # onnxruntime's exceptions have no common base
        raise refusal(422, f"onnxruntime cannot run the model on this: {str(error).splitlines()[0]}") from error


def npy_response(array: np.ndarray) -> Response:
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=False)
    return Response(stream.getvalue(), media_type=NPY)


def json_response(results: dict[Spec, np.ndarray]) -> Response:
    """The outputs by name; JSON has no word for NaN and infinity."""
    try:
        text = json.dumps({"outputs": {spec.name: array.tolist() for spec, array in results.items()}}, allow_nan=False)
    except ValueError as error:
        raise refusal(422, f"an output holds NaN or infinity, which JSON cannot; send {NPY}") from error
    return Response(text, media_type="application/json")


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description="Serve one ONNX model over HTTP.")
    parser.add_argument("model", metavar="MODEL.onnx")
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8000, help="0 takes a free one")
    parser.add_argument("--threads", type=int, default=1, help="threads of onnxruntime for one request")
    given = parser.parse_args(arguments)
    try:
        app = create_app(given.model, given.threads)
    except Exception as error:  # onnxruntime's exceptions have no common base
        print(f"error: {given.model}: {str(error).splitlines()[0]}", file=sys.stderr)
        return 3
    config = uvicorn.Config(app, host=given.host, port=given.port, log_level="warning")
    listening = config.bind_socket()
    print(f"{given.model} at http://{given.host}:{listening.getsockname()[1]}", flush=True)
    with contextlib.suppress(KeyboardInterrupt):  # the server has shut down by then
        uvicorn.Server(config).run(sockets=[listening])
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
