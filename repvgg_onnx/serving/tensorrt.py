"""Whether TensorRT's ONNX parser can be expected to take a model, and the command that builds an engine.

Nothing of TensorRT is run: what is known of it is the data of ``tensorrt_operators``.
"""

import os
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

import onnx

from repvgg_onnx.graph.bodies import label_of, operator_of, run_bodies, stored_tensors
from repvgg_onnx.graph.normalize import standard_opset, tensor_types
from repvgg_onnx.graph.shapes import bind_shapes
from repvgg_onnx.graph.skeleton import infer_skeleton
from repvgg_onnx.serving.findings import Finding, Severity
from repvgg_onnx.serving.interface import NO_TENSOR, Port, inputs_of, outputs_of, type_name
from repvgg_onnx.serving.restrictions import Seen, keeps
from repvgg_onnx.serving.tensorrt_operators import (
    FIRST_OPSET,
    LAST_OPSET,
    PORT_TYPES,
    RELEASE,
    RESTRICTIONS,
    TYPES,
)

PRECISION_HINT = "half precision: --fp16 with TensorRT 10; TensorRT 11 has no such option and wants a float16 model"

_WEIGHTED = ("Conv", "ConvTranspose", "Gemm")
_JUDGED_BY_OUTPUT = ("Constant", "ConstantOfShape", "EyeLike", "OneHot", "RandomNormal", "RandomUniform", "Range")
_JUDGED_BY_BOTH = ("Cast", "CastLike")
_UNJUDGED = ("If", "Loop", "Scan")


@dataclass(frozen=True)
class TensorRTCheck:
    """What is known of a model and TensorRT.

    Attributes:
        release: the release of TensorRT that the data are of.
        findings: problems first, then warnings, each by code.
        command: the trtexec command that builds an engine.
        hint: what to add to it for half precision.
    """

    release: str
    findings: tuple[Finding, ...]
    command: str
    hint: str = PRECISION_HINT

    @property
    def passed(self) -> bool:
        """Whether nothing was found that the parser refuses."""
        return all(finding.severity is not Severity.ERROR for finding in self.findings)


def check_tensorrt(
    model: onnx.ModelProto,
    path: str | os.PathLike[str],
    shapes: Mapping[str, Sequence[int]] | None = None,
    *,
    has_sides: bool = False,
) -> TensorRTCheck:
    """Findings about a model, and the command for it.

    Args:
        model: not changed; large weights may be in external data files.
        path: where it is, or will be, for the command.
        shapes: input name to the largest batch and the sizes to optimize for.
        has_sides: whether the file there needs external data files.

    Raises:
        ModelError: the graph is not valid ONNX.
        CheckError: a shape does not fit.
    """
    findings = [*_model_findings(model, shapes or {}), *_node_findings(model)]
    if has_sides:
        findings.append(Finding(Severity.WARNING, "side-files", "", "the model has external data"))
    findings.sort(key=lambda finding: (finding.severity is not Severity.ERROR, finding.code))
    return TensorRTCheck(RELEASE, tuple(findings), trtexec_command(model, path, shapes or {}))


def trtexec_command(model: onnx.ModelProto, path: str | os.PathLike[str], shapes: Mapping[str, Sequence[int]]) -> str:
    """The command that builds and times an engine, quoted for a POSIX shell.

    The profile of an input with dynamic axes goes from a batch of 1 to the batch that is given; its other axes are as
    given, or as ``bind_shapes`` chooses.

    Raises:
        CheckError: a shape does not fit.

    Example:
        >>> graph = "g (float[N, 3] x) => (float[N, 3] y) { y = Relu (x) }"
        >>> model = onnx.parser.parse_model('<ir_version: 8, opset_import: ["" : 17]>' + graph)
        >>> print(trtexec_command(model, "net.onnx", {"x": (8, 3)}))
        trtexec --onnx=net.onnx --saveEngine=net.plan --minShapes=x:1x3 --optShapes=x:8x3 --maxShapes=x:8x3
    """
    source = os.fspath(path)
    words = ["trtexec", f"--onnx={source}", f"--saveEngine={os.path.splitext(source)[0]}.plan"]
    largest = _profile(inputs_of(model), shapes)
    if largest:
        smallest = {name: (1, *shape[1:]) for name, shape in largest.items()}
        profile = {"min": smallest, "opt": largest, "max": largest}
        words += [f"--{end}Shapes={_written(sizes)}" for end, sizes in profile.items()]
    return shlex.join(words)


def _profile(ports: Sequence[Port], shapes: Mapping[str, Sequence[int]]) -> dict[str, tuple[int, ...]]:
    """The largest shape of each input that has dynamic axes."""
    bound = bind_shapes({port.name: port.shape or () for port in ports}, shapes)
    return {port.name: bound[port.name] for port in ports if port.is_dynamic and bound[port.name]}


def _written(shapes: Mapping[str, Sequence[int]]) -> str:
    """Shapes as trtexec reads them; names in which it would see a separator are in quotes."""
    names = {name: f"'{name}'" if set(name) & set(":,*") else name for name in shapes}
    return ",".join(f"{names[name]}:{'x'.join(map(str, shape))}" for name, shape in shapes.items())


def _model_findings(model: onnx.ModelProto, shapes: Mapping[str, Sequence[int]]) -> Iterator[Finding]:
    """What the model as a whole and its inputs and outputs have to do with it."""
    opset = standard_opset(model.opset_import)
    if not FIRST_OPSET <= opset <= LAST_OPSET:
        told = f"the model uses opset {opset}, and the parser takes {FIRST_OPSET} to {LAST_OPSET}"
        yield Finding(Severity.ERROR, "opset", "", told)
    for word, ports in (("input", inputs_of(model)), ("output", outputs_of(model))):
        yield from (finding for port in ports for finding in _port_findings(word, port))
    for port in inputs_of(model):
        if port.is_dynamic and port.name not in shapes:
            told = f"input {port.name!r} has dynamic axes, and nobody gave their sizes"
            yield Finding(Severity.WARNING, "assumed-sizes", port.name, told)
    fed = {port.name for port in inputs_of(model)}
    for name in [value.name for value in model.graph.input if value.name not in fed][:1]:
        told = "initializers are inputs too, so that a caller could feed others"
        yield Finding(Severity.WARNING, "overridable", name, told)


def _port_findings(word: str, port: Port) -> Iterator[Finding]:
    """What the type of an input or output has to do with it."""
    name = type_name(port.elem_type)
    if port.elem_type == NO_TENSOR:
        yield Finding(Severity.ERROR, "unsupported-type", port.name, f"{word} {port.name!r} is not a tensor")
    elif name not in PORT_TYPES:
        yield Finding(Severity.ERROR, "unsupported-type", port.name, f"{word} {port.name!r} is of type {name}")


def _node_findings(model: onnx.ModelProto) -> Iterator[Finding]:
    """What the operators have to do with it; alike nodes are one finding."""
    found = sorted(_every_node_finding(model), key=_kind)
    for _, alike in groupby(found, key=_kind):
        first, *others = alike
        count = f", and {len(others)} more" if others else ""
        yield Finding(first.severity, first.code, first.subject, f"{first.sentence} ({first.subject}{count})")


def _kind(finding: Finding) -> tuple[str, str]:
    return finding.code, finding.sentence


def _every_node_finding(model: onnx.ModelProto) -> Iterator[Finding]:
    functions = {(function.domain, function.name) for function in model.functions}
    types = tensor_types(infer_skeleton(model, {}).graph)
    constants = {tensor.name: tensor for tensor in model.graph.initializer}
    for body in run_bodies(model):
        inner = types if body is model.graph else {}
        known = {**constants, **stored_tensors(body)}
        for node in body.node:
            if (node.domain, node.op_type) not in functions:
                yield from _findings_of(Seen(node, inner, known))


def _findings_of(seen: Seen) -> Iterator[Finding]:
    """What one node has to do with it."""
    node = seen.node
    subject, op_type = label_of(node), operator_of(node)
    if op_type not in TYPES:
        known = onnx.defs.has(op_type)
        code, told = (
            ("unsupported", "is not supported") if known else ("not-listed", "is not an operator that it lists")
        )
        yield Finding(Severity.ERROR, code, subject, f"{op_type} {told}")
        return
    yield from _type_findings(seen, subject)
    if op_type in RESTRICTIONS and not (kept := keeps(seen)):
        severity = Severity.WARNING if kept is None else Severity.ERROR
        yield Finding(severity, "restricted", subject, f"{op_type} is supported only so: {RESTRICTIONS[op_type]}")
    if op_type in _WEIGHTED and not seen.is_constant(1):
        yield Finding(Severity.WARNING, "computed-weights", subject, f"{op_type} has weights that are not constant")


def _type_findings(seen: Seen, subject: str) -> Iterator[Finding]:
    """What the type of the data has to do with it; types that are not known are taken to be right."""
    op_type = seen.node.op_type
    for name in _judged(seen.node):
        known = seen.types.get(name)
        if known is None or known.elem_type == NO_TENSOR:
            continue
        word = type_name(known.elem_type)
        if word == "DOUBLE" and "FLOAT" in TYPES[op_type]:
            yield Finding(Severity.WARNING, "double", subject, "DOUBLE is computed as FLOAT, and large values clamped")
        elif word not in TYPES[op_type]:
            yield Finding(Severity.ERROR, "unsupported-type", subject, f"{op_type} is not supported for {word}")


def _judged(node: onnx.NodeProto) -> list[str]:
    """The tensors whose type a node's support depends on."""
    if node.op_type in _UNJUDGED:
        return []
    if node.op_type in _JUDGED_BY_BOTH:
        return [*node.input[:1], *node.output[:1]]
    if node.op_type in _JUDGED_BY_OUTPUT:
        return list(node.output[:1])
    return list(node.input[1:2] if node.op_type == "Where" else node.input[:1])
