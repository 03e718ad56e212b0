"""The ends of the help texts: examples that run as they are, and what the exit codes mean."""

from collections.abc import Iterable

_UNUSABLE = "the input cannot be used, or the output not be written"
_A_MODEL = "a model cannot be used, or the report not be written"
_UNWRITABLE = "the report cannot be written"


def _end(*examples: str, done: str = "done", failed: str = "", unusable: str = _UNUSABLE) -> str:
    """Examples and exit codes as click prints them; the backspace in each part keeps click from wrapping it.

    Args:
        examples: command lines.
        done: what exit code 0 means.
        failed: what exit code 1 means; empty for a command that never gives it.
        unusable: what exit code 3 means.
    """
    codes = {0: done, 1: failed, 2: "usage error", 3: unusable}
    lines = (f"{code}  {meaning}" for code, meaning in codes.items() if meaning)
    return "\n\n".join((_part("Examples" if len(examples) > 1 else "Example", examples), _part("Exit codes", lines)))


def _part(title: str, lines: Iterable[str]) -> str:
    return "\n".join(("\b", f"{title}:", *(f"  {line}" for line in lines)))


PROGRAM = _end(
    "repvgg-onnx check model.onnx",
    "repvgg-onnx fuse model.onnx",
    failed="a check failed: outputs, a gate, or foldable regions that are left",
)
"""The end of the help of the program itself."""

ENDS = {
    "bench": _end(
        "repvgg-onnx bench model.onnx --seconds 2 --json=latency.json",
        "repvgg-onnx bench model.onnx model.fused.onnx --batch 1,8 --threads 1,2",
        unusable=_A_MODEL,
    ),
    "check": _end(
        "repvgg-onnx check model.fused.onnx",
        "repvgg-onnx check models/*.onnx --max-foldable 2 --json=foldable.json",
        "repvgg-onnx check models/*.onnx --report github --report html:report.html",
        done="no model has more foldable regions than it may have",
        failed="a model has more",
        unusable=_A_MODEL,
    ),
    "doctor": _end("repvgg-onnx doctor", done="the core works", failed="it does not", unusable=_UNWRITABLE),
    "explain": _end("repvgg-onnx explain two-roots", "repvgg-onnx explain", unusable=_UNWRITABLE),
    "export": _end(
        "repvgg-onnx export",
        "repvgg-onnx export repvgg-a0 -o a0.onnx --no-fold",
        unusable="the checkpoint cannot be used, or the output not be written",
    ),
    "fuse": _end(
        "repvgg-onnx fuse model.onnx",
        "repvgg-onnx fuse model.onnx -o deployed.onnx --shape image=8,3,224,224",
        "repvgg-onnx fuse model.onnx --inputs data.npz --strict --no-bench",
        "repvgg-onnx fuse model.onnx --autotune --decisions decisions.json",
        "repvgg-onnx fuse models/*.onnx -o fused --jobs 2 --no-bench",
        failed="outputs differ, a gate was not met, or --check found regions",
    ),
    "inspect": _end(
        "repvgg-onnx inspect model.onnx --per-layer",
        "repvgg-onnx inspect model.onnx --json=regions.json",
        unusable=_A_MODEL,
    ),
    "triton": _end(
        "repvgg-onnx triton model.onnx models --name net --max-batch-size 8",
        "repvgg-onnx triton model.onnx models --name net --version 2",
    ),
    "verify": _end(
        "repvgg-onnx verify model.onnx model.fused.onnx --inputs data.npz",
        "repvgg-onnx verify model.onnx model.fused.onnx --bisect --tolerance 1e-4",
        done="the outputs agree",
        failed="they differ",
        unusable=_A_MODEL,
    ),
}
"""The end of the help of each command."""
