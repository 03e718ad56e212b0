"""Made-up results, for tests of the renderers."""

import math

from repvgg_onnx.census import Census
from repvgg_onnx.checks.agreement import Accuracy, Agreement
from repvgg_onnx.checks.bisection import Bisection, TensorParity
from repvgg_onnx.checks.inner import InnerParity
from repvgg_onnx.checks.latency import Conditions, Latency
from repvgg_onnx.checks.parity import OutputParity, Parity
from repvgg_onnx.checks.regions import RegionParity
from repvgg_onnx.checks.statistics import Timing
from repvgg_onnx.compiler.results import Cost, Member, Refusal, Region
from repvgg_onnx.report.machine import fuse_json
from repvgg_onnx.report.model import FuseReport, ModelFile, Outcome, Verdict
from repvgg_onnx.report.run import Run


def region(index=0, branches=("3x3 Conv", "1x1 Conv", "identity"), kernel_shape=(3, 3), **changes):
    values = {
        "name": f"sum_{index}/fused",
        "root": f"x_{index}",
        "sink": f"sum_{index}",
        "members": (Member(f"conv_{index}", "Conv"), Member(f"add_{index}", "Add")),
        "branches": branches,
        "op_type": "Conv",
        "c_in": 4,
        "c_out": 6,
        "kernel_shape": kernel_shape,
        "strides": (1,) * len(kernel_shape),
        "pads": (1,) * 2 * len(kernel_shape),
        "dilations": (1,) * len(kernel_shape),
        "group": 1,
        "cost_before": Cost(700, 90),
        "cost_after": Cost(600, 50),
    }
    return Region(**(values | changes))


def refusal(index=0, code="strides-differ"):
    return Refusal(code, f"add_{index}", f"Add {index} sums branches of strides (2, 2) and (1, 1)")


def agreement(labelled=450):
    before, after = (Accuracy(450, 445, 450), Accuracy(450, 444, 449)) if labelled else (Accuracy(), Accuracy())
    return Agreement("y", 450, 449, before, after)


def tensor(index, error, inherited=1e-7, origin=False, reason=""):
    members = tuple(f"node_{i}" for i in range(index + 1))
    return TensorParity(
        f"t_{index}", f"node_{index}", "Conv", members, error, inherited, origin, "normal, seed 0", reason
    )


def bisection(*tensors, obstacle=""):
    found = tensors or (tensor(0, 1e-7, 0.0), tensor(1, 0.25, origin=True), tensor(2, math.inf, 0.25))
    return Bisection(found, 1e-5, "1e-05: float32", ("normal, seed 0",), obstacle=obstacle)


def parity(error=2.4e-7, reason="", agreements=(), inner=(), remarks=(), **changes):
    values = {"noise": 1.9e-7, "passed": error <= 1e-5} | changes
    passed = values.pop("passed")
    output = OutputParity(
        "y", "float32", (1, 6, 5, 7), error, 1e-5, passed, "normal, seed 1", "ORT_ENABLE_ALL", reason, **values
    )
    return Parity(
        (output,),
        ("normal, seed 0", "normal, seed 1"),
        ("ORT_DISABLE_ALL", "ORT_ENABLE_ALL"),
        "1e-05: float32",
        agreements,
        inner,
        remarks,
    )


def noisy():
    """Outputs that noise decides."""
    return parity(4e-4, noise=2.4e-4, passed=True, decided_by="noise", range=1.0)


def all_noise(wrong=False):
    """Outputs that tell nothing, so that tensors inside decide."""
    error = 0.3 if wrong else 2e-6
    inner = (
        InnerParity("t_1", 1e-7, 1e-7, 1e-5, "normal, seed 0"),
        InnerParity("t_2", error, 1e-7, 1e-5, "border, seed 0"),
    )
    remarks = ("the original's output 'z' is not finite at ORT_ENABLE_ALL on normal, seed 0",)
    reason = "tensor 't_2' inside differs: its error is 0.3 and may be 1e-05" if wrong else ""
    return parity(0.9, reason, inner=inner, remarks=remarks, noise=0.7, passed=not wrong, decided_by="inner tensors")


def wrong_shape():
    return parity(math.inf, "the shape is (1, 2) instead of (1, 3)")


def timing(median_ns):
    return Timing(median_ns, median_ns + 9, 5, (median_ns - 1, median_ns, median_ns + 1))


def latency(verdict="faster"):
    conditions = Conditions("1.31.1", "CPUExecutionProvider", "ORT_ENABLE_ALL", 1, {"x": (1, 4, 5, 7)}, 3, 2.5)
    return Latency(timing(12_345_678), timing(10_829_542), 1.14, 1.12, 1.16, verdict, 200, conditions)


def report(**changes):
    values = {
        "version": "9.8.7",
        "before": ModelFile("net.onnx", 36_412_345, Census({"Add": 39, "Conv": 44, "Relu": 22}, 9_108_728, 36_434_912)),
        "after": ModelFile("net.fused.onnx", 33_271_412, Census({"Conv": 22, "Relu": 22}, 8_309_384, 33_237_536)),
        "regions": (region(0), region(1), region(2, ("3x3 Conv", "1x1 Conv"), strides=(2, 2))),
        "refusals": (refusal(0),),
        "parity": parity(),
        "latency": latency(),
        "min_speedup": None,
        "verdict": Verdict.FUSED,
        "notes": (),
    }
    return FuseReport(**(values | changes))


def region_parity(index=0, error=3e-7, used=0.02):
    return RegionParity(f"sum_{index}/fused", f"sum_{index}", error, 2e-5, used, 1e-5, "normal, seed 1")


def foldable(error="3 regions can be folded", **changes):
    """A model that ``check`` has looked at."""
    verdict = report(parity=None, latency=None, verdict=Verdict.FOLDABLE, max_foldable=0, **changes)
    return Outcome("models/net.onnx", verdict, 1 if error else 0, error)


def fused(**changes):
    return Outcome("models/net.onnx", report(region_parities=(region_parity(),), **changes), 0, None)


def unusable():
    return Outcome("models/bad.onnx", None, 3, "no ONNX model")


def not_begun():
    return Outcome("models/last.onnx", None, None, None)


def run_of(*outcomes, subject=None):
    """A run about these models, or about something else."""
    return Run("9.8.7", "repvgg-onnx check 'my models/*.onnx'", fuse_json(report()), subject or outcomes)
