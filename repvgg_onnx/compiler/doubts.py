"""Which folds are doubtful: worth it by multiply-adds and bytes, or not, but a runtime may see it otherwise."""

import math
from collections.abc import Iterable, Iterator, Mapping

from repvgg_onnx.compiler.decisions import Doubt
from repvgg_onnx.compiler.emit import region_of
from repvgg_onnx.compiler.forms import weight_dims
from repvgg_onnx.compiler.leading import is_kernel, leading_arithmetic
from repvgg_onnx.compiler.plans import Plan
from repvgg_onnx.compiler.regions import Group
from repvgg_onnx.compiler.results import Region


def is_doubtful(plan: Plan) -> bool:
    """Whether a fold may make a runtime slower although it costs less.

    A fold is plain, and never doubtful, if its members are parallel branches and the folded kernel has no more weights
    than the largest kernel among them: then a node that runs anyway does the work of the others. What is left is

    1. a composition: some way from root to sink passes two kernels (one gain per channel is not a kernel);
    2. a sum that widens groups, such as depthwise 3x3 + dense 1x1, whose kernel has more weights than either;
    3. a kernel larger than every branch's, such as 1x3 + 3x1, for the same reason;
    4. siblings merged by a Concat, whose dense kernel holds all of theirs;
    5. a kernel that takes in arithmetic before it, which may be the end of something that a runtime has one operator
       for, such as the factor 0.5 of a Gelu or gain and offset of a LayerNormalization.
    """
    if _kernels_on_the_way(plan) > 1 or leading_arithmetic(plan.frame.root, plan.members):
        return True
    weights = math.prod(weight_dims(plan.value.conv.geometry, plan.form.group))
    return weights > max(node.kernel_size for node in plan.members)


def doubtful_groups(groups: Iterable[Group]) -> list[Group]:
    """The groups with a doubtful plan; to be asked before anything is emitted."""
    return [group for group in groups if any(map(is_doubtful, group.plans))]


def folded_doubts(groups: Iterable[Group], emitted: Mapping[str, Region]) -> Iterator[Doubt]:
    """Doubtful groups that were folded.

    Args:
        groups: the doubtful groups that were chosen.
        emitted: what was emitted, by sink; a group of which something could not be folded is left out.
    """
    for group in groups:
        if all(plan.sink in emitted for plan in group.plans):
            regions = tuple(emitted[plan.sink] for plan in group.plans)
            yield Doubt(regions, wanted=group.saving > 0, folded=True)


def declined_doubts(plans: Iterable[Plan]) -> Iterator[Doubt]:
    """Exact regions that the cost rule turned down."""
    for plan in plans:
        yield Doubt((region_of(plan, plan.sink),), wanted=False, folded=False)


def _kernels_on_the_way(plan: Plan) -> int:
    """Most kernels on any way from the root to the sink."""
    passed: dict[str, int] = {}
    for node in plan.members:
        count = max((passed.get(name, 0) for name in node.inputs), default=0) + is_kernel(node)
        passed |= dict.fromkeys(node.outputs, count)
    return passed[plan.sink]
