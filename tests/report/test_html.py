import re
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from repvgg_onnx.census import Census, Layer, Profile
from repvgg_onnx.report.html import html_report
from repvgg_onnx.report.html.charts import _places, error_chart, latency_chart, memory_chart, operators_chart
from repvgg_onnx.report.model import Outcome, Verdict
from repvgg_onnx.report.run import Verification
from tests.report.values import (
    bisection,
    foldable,
    fused,
    not_begun,
    parity,
    region,
    region_parity,
    report,
    run_of,
    unusable,
    wrong_shape,
)

HOSTILE = "</svg><script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


class Tags(HTMLParser):
    """Every tag with its attributes, and the text of headings."""

    def __init__(self, text):
        super().__init__()
        self.tags = []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        self.tags.append((tag, dict(attributes)))

    def all(self, name):
        return [attributes for tag, attributes in self.tags if tag == name]


def layer(name, live):
    return Layer(name, "Conv", (1, 4, 5, 7), 0, 0, 0, 0, 0, 0, live)


def profile(*layers):
    return Profile(0, max(each.live_bytes for each in layers), layers, {})


def test_the_verdict_comes_first():
    text = html_report(run_of(foldable(), unusable(), not_begun()))

    assert '<header class="banner bad">' in text
    assert "<h1>3 models: 1 foldable, 1 not usable, 1 not begun</h1>" in text
    assert text.index("<h1>") < text.index("<main>")


@pytest.mark.parametrize(
    ("run", "tone"),
    [
        (run_of(fused()), "good"),
        (run_of(foldable()), "bad"),
        (run_of(not_begun()), "plain"),
        (run_of(subject=Verification("a", "b", parity())), "good"),
        (run_of(subject=Verification("a", "b", wrong_shape(), bisection())), "bad"),
    ],
)
def test_the_banner_has_the_tone_of_the_verdict(run, tone):
    assert f'<header class="banner {tone}">' in html_report(run)


def test_alike_regions_are_drawn_once_before_and_after():
    tags = Tags(html_report(run_of(fused())))

    drawings = [div["aria-label"] for div in tags.all("div") if div.get("class") == "drawing"]
    assert drawings == [
        "Before: 3x3 Conv + 1x1 Conv + identity",
        "After: one Conv 3x3, 4 to 6 channels",
        "Before: 3x3 Conv + 1x1 Conv",
        "After: one Conv 3x3, stride 2, 4 to 6 channels",
    ]


def test_nothing_is_loaded_from_anywhere():
    tags = Tags(html_report(run_of(fused(), unusable())))

    assert not any("src" in attributes for _, attributes in tags.tags)
    assert not tags.all("link")
    assert all(link["href"].startswith("#") for link in tags.all("a"))
    (policy,) = (meta["content"] for meta in tags.all("meta") if meta.get("http-equiv"))
    assert policy.startswith("default-src 'none'")


def test_names_are_text_wherever_they_stand():
    outcome = fused(
        regions=(region(name=HOSTILE, root=HOSTILE, sink=HOSTILE, branches=(HOSTILE,)),),
        notes=(HOSTILE,),
        rolled_back=(type(region_parity())(HOSTILE, HOSTILE, 1.0, 1.0, 2.0, 1e-5, HOSTILE),),
    )
    plain, hostile = html_report(run_of(fused())), html_report(run_of(outcome, Outcome(HOSTILE, None, 3, HOSTILE)))

    assert len(Tags(hostile).all("script")) == len(Tags(plain).all("script")) == 1
    assert Tags(hostile).all("img") == []
    assert "&lt;script&gt;alert(1)" in hostile


def test_the_command_that_does_it_again_is_there():
    assert "repvgg-onnx check &#39;my models/*.onnx&#39;" in html_report(run_of(fused()))


def test_a_failed_comparison_names_what_differs():
    text = html_report(run_of(subject=Verification("a.onnx", "b.onnx", wrong_shape(), bisection())))

    assert "the shape is (1, 2) instead of (1, 3)" in text
    assert "Where they begin to differ" in text


def test_the_same_run_is_the_same_page():
    assert html_report(run_of(fused())) == html_report(run_of(fused()))


def test_nothing_folded_has_no_pictures():
    empty = Outcome("net.onnx", report(regions=(), parity=None, latency=None, verdict=Verdict.NOTHING_TO_FOLD), 0, None)

    assert Tags(html_report(run_of(empty))).all("svg") == []


@pytest.mark.parametrize(
    "chart",
    [
        operators_chart({"Conv": 3, HOSTILE: 1}, {"Conv": 1}),
        latency_chart({HOSTILE: (1000, 1100, 1200), "$x$": (900, 950, 990)}),
        error_chart([type(region_parity())(HOSTILE, "s", 1e-7, float("inf"), 0.0, 1e-5, "f"), region_parity(1)]),
        error_chart([region_parity(index, error=0.0) for index in range(80)]),
        error_chart([region_parity(0, error=float("inf")), region_parity(1)]),
        error_chart([region_parity(0, error=float("inf"))]),
    ],
)
def test_charts_are_svg_in_the_colours_of_the_page(chart):
    tags = Tags(chart)

    assert tags.tags[0][0] == "svg"
    assert {tag for tag, _ in tags.tags} <= {
        "svg",
        "title",
        "defs",
        "style",
        "g",
        "path",
        "use",
        "text",
        "clippath",
        "rect",
    }
    assert "currentColor" in chart
    assert not re.search(r"#0[1-4]0[1-4]0[1-4]", chart)


def test_long_charts_say_what_they_leave_out():
    many = {f"Op{index}": 1 for index in range(20)}
    before = replace(report().before, census=Census(many, 1, 1))

    text = html_report(run_of(fused(before=before, rolled_back=tuple(map(region_parity, range(80))))))

    assert "The 16 most frequent of 22 operators." in text
    assert "The 60 largest errors of 81." in text


def test_memory_is_drawn_over_the_nodes_of_the_original():
    before = profile(layer("a", 100), layer("conv_0", 400), layer("add_0", 300), layer("end", 50))
    after = profile(layer("a", 100), layer("sum_0/fused", 200), layer("end", 50))

    assert _places(before, after, [region(0)]) == [0, 1, 3]
    assert memory_chart(before, after, [region(0)]).startswith("<svg")
