import pytest

from repvgg_onnx.compiler.codes import CODES, Code
from repvgg_onnx.report.explanation import explanation, overview
from repvgg_onnx.report.groups import group_advice
from repvgg_onnx.report.model import Verdict
from repvgg_onnx.report.terminal import fuse_report, inspect_report
from tests.report.test_terminal import rendered, squeezed
from tests.report.values import refusal, region, report

REASONS = [code for code in CODES if CODES[code].actionable][:20]


def inspected(**changes):
    given = {"parity": None, "latency": None, "verdict": Verdict.FOLDABLE}
    return report(**(given | changes))


def test_the_whole_inspection_reads_well():
    assert squeezed(rendered(inspect_report(inspected(notes=("1 thing was assumed",)), every=False))) == [
        "net.onnx: 3 regions to fold",
        "",
        "Taken for granted",
        "1 thing was assumed",
        "",
        "6 nodes become 3",
        "2 x 3x3 Conv + 1x1 Conv + identity -> 3x3 Conv",
        "4 nodes: sum_0/fused, sum_1/fused",
        "1,400 -> 1,200 MACs, 180 bytes -> 100 bytes moved, saves 18%",
        "1 x 3x3 Conv + 1x1 Conv -> 3x3 Conv",
        "2 nodes: sum_2/fused",
        "700 -> 600 MACs, 90 bytes -> 50 bytes moved, saves 18%",
        "",
        "1 node cannot be folded, and nothing can be done about it; --all lists why",
        "",
        "before after",
        "Add 39 0",
        "Conv 44 22",
        "other nodes 22 22",
        "all nodes 105 44",
        "parameters 9.11 M 8.31 M",
        "file size 36.41 MB 33.27 MB",
    ]


def test_refusals_for_which_nothing_can_be_done_are_counted_and_listed_with_all():
    given = inspected(refusals=(refusal(0), refusal(1, "overflow"), refusal(2)))

    brief, whole = (squeezed(rendered(inspect_report(given, every=every), 200)) for every in (False, True))

    assert brief[brief.index("Not folded") : brief.index("What to do") + 2] == [
        "Not folded",
        "1 x Add 1 sums branches of strides (2, 2) and (1, 1)",
        "overflow: add_1",
        "",
        "2 nodes cannot be folded, and nothing can be done about it; --all lists why",
        "",
        "What to do",
        f"overflow: {CODES['overflow'].advice}",
    ]
    settled = f"strides-differ: {CODES['strides-differ'].advice}"
    assert {"strides-differ: add_0", "strides-differ: add_2", settled} <= set(whole)
    assert not any("--all lists why" in line for line in whole)


def test_every_region_and_refusal_by_itself():
    refusals = (refusal(0), refusal(1, "shared"), refusal(2))

    lines = squeezed(rendered(inspect_report(inspected(refusals=refusals), every=True)))

    assert [line for line in lines if line.startswith("2 nodes:")] == [f"2 nodes: sum_{i}/fused" for i in range(3)]
    listed = lines[lines.index("Not folded") + 1 : lines.index("What to do") - 1]
    assert listed[1::2] == ["strides-differ: add_0", "strides-differ: add_2", "shared: add_1"]
    assert listed[2] == "- Add 2 sums branches of strides (2, 2) and (1, 1)"


def many():
    kinds = tuple(region(i, (f"{i}x{i} Conv",), (i, i)) for i in range(1, 40))
    return inspected(regions=kinds, refusals=tuple(refusal(i, REASONS[i % len(REASONS)]) for i in range(200)))


@pytest.mark.parametrize("every", [False, True])
@pytest.mark.parametrize("width", [80, 60])
def test_no_line_is_wider_than_the_screen(every, width):
    assert max(map(len, rendered(inspect_report(many(), every=every), width).splitlines())) <= width


def test_kinds_are_cut_and_codes_are_not():
    brief, whole = (rendered(inspect_report(many(), every=every)) for every in (False, True))

    assert "and 29 kinds more, see --all" in brief
    assert all(f"{code}: " in brief for code in REASONS)
    assert "more" not in whole
    assert all(f"{REASONS[i % len(REASONS)]}: add_{i}" in squeezed(whole) for i in range(200))


def test_long_names_are_cut_where_they_are_many_and_whole_where_they_are_one():
    long = "/stage1/" + "x" * 50 + "/Conv"
    brief, whole = (
        "".join(rendered(inspect_report(inspected(regions=(region(0, name=long),)), every=every)).split())
        for every in (False, True)
    )

    assert long not in brief
    assert long in whole


def test_codes_of_one_advice_are_gathered():
    advice = {"a": "Export again.", "b": "Nothing.", "c": "Export again."}

    assert group_advice(advice) == {"Export again.": ("a", "c"), "Nothing.": ("b",)}
    codes = ("not-finite", "sizes-unknown", "overflow", "type", "shared")
    lines = rendered(inspect_report(inspected(refusals=tuple(map(refusal, range(5), codes))), every=True), 200)
    found = squeezed(lines)[squeezed(lines).index("What to do") + 1 :][:4]
    assert [line.split(": ")[0] for line in found] == ["not-finite", "sizes-unknown", "overflow", "type, shared"]


def test_what_was_assumed_is_said_to_be_the_baseline_where_something_was_compared():
    sentence = "compared with the input so changed"

    assert sentence in rendered(fuse_report(report(notes=("one",))))
    assert sentence in rendered(fuse_report(report(notes=("one",), parity=None)))
    assert sentence not in rendered(fuse_report(report(notes=("one",), parity=None, latency=None)))
    assert "Taken for granted" not in rendered(fuse_report(report()))


def test_a_code_is_explained():
    assert rendered(explanation("type", Code("It works on integers.", "Nothing."))) == (
        "type\n\nIt works on integers.\n\nWhat to do\n  Nothing.\n"
    )


def test_the_overview_has_one_line_a_code_whatever_the_width():
    lines = rendered(overview({"type": Code("x" * 200, ""), "not-affine": Code("It multiplies.", "")}), 40).splitlines()

    assert [line.rstrip() for line in lines] == ["type        " + "x" * 27 + "…", "not-affine  It multiplies."]
