"""Small networks whose outputs are mostly noise, and the referee's view of one."""

import numpy as np
import onnx
from onnx import numpy_helper

from repvgg_onnx.checks.options import CheckOptions
from repvgg_onnx.checks.parity import Parity
from repvgg_onnx.checks.reference import reference
from tests.checks.models import model


def only(parity: Parity):
    (output,) = parity.outputs
    return output


def known(net: onnx.ModelProto, **conditions):
    return reference(net, net.SerializeToString(), CheckOptions(**conditions))


def chaos(steps: int = 8) -> onnx.ModelProto:
    """Sines of twenty times the sine before, in which a little noise grows twentyfold with every step."""
    lines = [
        f"m{step} = Mul(s{step}, ten) p{step} = Mul(m{step}, two) s{step + 1} = Sin(p{step})" for step in range(steps)
    ]
    text = f"g (float[2,3] x) => (float[2,3] y) {{ s0 = Tanh(x) {' '.join(lines)} y = Identity(s{steps}) }}"
    return model(text, {"ten": np.float32([10]), "two": np.float32([2])})


def regrouped(step: int = 2, factor: float = 1.0) -> onnx.ModelProto:
    """The same with both products of a step in one, off by one rounding; or by a factor."""
    changed = chaos()
    (node,) = (node for node in changed.graph.node if node.output[0] == f"p{step}")
    node.input[:] = [f"s{step}", "both"]
    changed.graph.node.remove(next(node for node in changed.graph.node if node.output[0] == f"m{step}"))
    both = np.float32([20 * factor]) * np.float32(1 + 2.0**-23)
    changed.graph.initializer.append(numpy_helper.from_array(both, "both"))
    return changed
