import io

import pytest
from rich.console import Console

from repvgg_onnx.census import Census
from repvgg_onnx.compiler.codes import CODES
from repvgg_onnx.report.model import ModelFile, Verdict
from repvgg_onnx.report.terminal import fuse_report, latency_report, parity_failure, parity_report
from tests.report.values import latency, parity, refusal, region, report, wrong_shape


def rendered(renderable, width=80, **options):
    stream = io.StringIO()
    Console(file=stream, width=width, highlight=False, markup=False, emoji=False, **options).print(renderable)
    return stream.getvalue()


def squeezed(text):
    return [" ".join(line.split()) for line in text.splitlines()]


def test_the_whole_report_reads_well():
    assert squeezed(rendered(fuse_report(report()))) == [
        "net.onnx: 3 regions folded",
        "",
        "6 nodes become 3",
        "2 x 3x3 Conv + 1x1 Conv + identity -> 3x3 Conv",
        "1 x 3x3 Conv + 1x1 Conv -> 3x3 Conv",
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
        "",
        "Parity",
        "same outputs: worst error 2.4e-07, the network's own noise 1.9e-07, on 2 feeds",
        "at ORT_DISABLE_ALL and ORT_ENABLE_ALL",
        "tolerance: 1e-05: float32",
        "",
        "Latency",
        "1.14x faster (95% CI 1.12-1.16), onnxruntime 1.31 ENABLE_ALL, 1 thread,",
        "1x4x5x7, 200 pairs in 3 sessions",
        "median 12.35 ms before, 10.83 ms after",
        "",
        "3 regions folded, same outputs (error 2.4e-07, own noise 1.9e-07), 1.14x faster",
        "(95% CI 1.12-1.16), wrote net.fused.onnx",
    ]


@pytest.mark.parametrize(
    ("changes", "last"),
    [
        ({"parity": None, "latency": None}, "3 regions folded, not verified, wrote net.fused.onnx"),
        (
            {"verdict": Verdict.NOTHING_TO_FOLD, "regions": (), "parity": None, "latency": None},
            "nothing to fold, wrote net.fused.onnx, a copy of the input",
        ),
        (
            {"verdict": Verdict.PARITY_FAILED, "parity": parity(0.3), "latency": None},
            "3 regions to fold, different outputs (error 0.3, own noise 1.9e-07), nothing was written",
        ),
        ({"verdict": Verdict.TOO_SLOW, "parity": None}, "1.16), nothing was written"),
    ],
)
def test_the_last_line_says_what_was_written(changes, last):
    assert " ".join(squeezed(rendered(fuse_report(report(**changes))))).endswith(last)


def test_nothing_to_fold_without_a_file_is_said_once():
    same = ModelFile(None, None, Census({"Relu": 2}, 0, 0))
    nothing = report(
        before=ModelFile("net.onnx", 321, Census({"Relu": 2}, 0, 0)),
        after=same,
        regions=(),
        refusals=(),
        parity=None,
        latency=None,
        verdict=Verdict.NOTHING_TO_FOLD,
    )

    assert squeezed(rendered(fuse_report(nothing))) == [
        "net.onnx: nothing to fold",
        "",
        "2 nodes, 0 parameters, 321 bytes",
    ]


def test_what_could_be_folded_is_not_said_to_be_written():
    assert "wr" not in rendered(fuse_report(report(verdict=Verdict.FOLDABLE, parity=None, latency=None)))


def test_failed_outputs_are_named_with_where_they_were_seen():
    text = " ".join(squeezed(rendered(parity_report(parity(0.3)))))

    assert "different outputs: worst error 0.3, the network's own noise 1.9e-07, on 2 feeds" in text
    above = "output y: error 0.3 is above 1e-05 and 8 times the network's own noise, 1.9e-07"
    assert f"{above}, on normal, seed 1 at ORT_ENABLE_ALL" in text
    assert parity_failure(parity(0.3)) == above
    assert parity_failure(parity(0.3, noise=0.1)) == "output y: error 0.3 is above 1e-05"
    assert parity_failure(parity(0.3, noise=0.0)) == "output y: error 0.3 is above 1e-05"


def test_an_infinite_error_gives_its_reason():
    assert parity_failure(wrong_shape()) == "output y: the shape is (1, 2) instead of (1, 3)"


@pytest.mark.parametrize("verdict", ["faster", "slower", "not distinguishable"])
def test_latency_is_its_sentence_and_both_medians(verdict):
    text = " ".join(squeezed(rendered(latency_report(latency(verdict)))))

    assert latency(verdict).sentence in text
    assert "median 12.35 ms before, 10.83 ms after" in text


ACTIONABLE = [code for code, long_form in CODES.items() if long_form.actionable]


def crowded():
    regions = tuple(region(i, (f"{i}x{i} Conv", "x" * 200), (i, i)) for i in range(1, 40))
    refusals = tuple(refusal(i, code) for i, code in enumerate(ACTIONABLE))
    before = Census({f"Op{i}": i + 1 for i in range(50)}, 10**12, 10**13)
    after = Census({f"Op{i}": 0 for i in range(30)}, 10**12, 10**13)
    paths = "/very/long" * 30 + ".onnx"
    return report(
        regions=regions,
        refusals=refusals,
        before=ModelFile(paths, 10**13, before),
        after=ModelFile(paths, 10**13, after),
    )


@pytest.mark.parametrize("width", [80, 60])
def test_no_line_is_wider_than_the_screen(width):
    assert max(map(len, rendered(fuse_report(crowded()), width).splitlines())) <= width


def test_many_kinds_are_cut_and_the_rest_is_counted():
    text = rendered(fuse_report(crowded()))

    assert "and 29 kinds more, see --json" in text
    assert f"and {len(ACTIONABLE) - 10} reasons more, see --all" in text
    assert "other nodes" in text


def test_a_hundred_alike_regions_fit_on_one_screen():
    many = report(regions=tuple(map(region, range(100))), refusals=tuple(map(refusal, range(50))))

    assert len(rendered(fuse_report(many)).splitlines()) <= 40


def test_colour_only_adds_to_the_text():
    plain = rendered(fuse_report(report()))
    coloured = rendered(fuse_report(report()), force_terminal=True, color_system="standard")

    assert "\x1b[" in coloured
    assert "\x1b" not in plain
    assert plain.isascii()


def test_names_from_the_model_cannot_steer_the_terminal():
    evil = "\x1b]0;owned\x07\x1b[2J"
    text = rendered(
        fuse_report(
            report(
                before=ModelFile(evil, 1, Census({evil: 2}, 0, 0)),
                regions=(region(0, (evil,), op_type=evil),),
                refusals=(refusal(0, "overflow"), type(refusal())("overflow", evil, evil)),
            )
        )
    )

    assert "\x1b" not in text
    assert "\x07" not in text


def test_why_weights_grow_stands_below_the_table():
    remark = "the weights grow from 64 bytes to 144 bytes: 1 kernel that other nodes read as well"

    lines = rendered(fuse_report(report(remarks=(remark,))), width=100).splitlines()

    assert remark in lines
