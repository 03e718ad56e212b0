"""What ONNX itself says of its operators."""

from collections.abc import Sequence
from functools import cache

import onnx


@cache
def since_version(op_type: str, opset: int, domain: str = "") -> int | None:
    """The version of an operator that an operator set has; None of one that onnx does not know there.

    Example:
        >>> since_version("Mul", 17), since_version("Mul", 13), since_version("Thing", 17)
        (14, 13, None)
    """
    try:
        return onnx.defs.get_schema(op_type, opset, domain).since_version
    except onnx.defs.SchemaError:
        return None


@cache
def type_variables(op_type: str, opset: int) -> tuple[tuple[str, ...], bool]:
    """For each input the name of its type, and whether the last one may be given several times.

    Inputs that share a name such as ``T`` have to be of one type. An unknown operator has no inputs.
    """
    try:
        inputs = onnx.defs.get_schema(op_type, opset, "").inputs
    except onnx.defs.SchemaError:
        return (), False
    variadic = bool(inputs) and inputs[-1].option == onnx.defs.OpSchema.FormalParameterOption.Variadic
    return tuple(each.type_str for each in inputs), variadic and inputs[-1].is_homogeneous


def have_conflicting_types(op_type: str, opset: int, elem_types: Sequence[int]) -> bool:
    """Whether inputs that have to be of one type are not.

    Args:
        op_type: of ONNX's own domain.
        opset: version of the operators.
        elem_types: type of each input, 0 for one that is unknown or left out.

    Example:
        >>> have_conflicting_types("Conv", 17, [1, 1, 11]), have_conflicting_types("Reshape", 17, [1, 7])
        (True, False)
    """
    variables, variadic = type_variables(op_type, opset)
    if variadic:
        variables += variables[-1:] * (len(elem_types) - len(variables))
    bound: dict[str, int] = {}
    pairs = zip(variables, elem_types, strict=False)
    return any(known and bound.setdefault(variable, known) != known for variable, known in pairs)
