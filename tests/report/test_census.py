"""The census as text and JSON."""

import json
from dataclasses import replace

import pytest

from repvgg_onnx.census import Census, Layer, Profile
from repvgg_onnx.report.census import census_section, condition_lines, layer_section, profile_rows
from repvgg_onnx.report.machine import fuse_json
from repvgg_onnx.report.model import ModelFile
from repvgg_onnx.report.terminal import fuse_report, inspect_report
from tests.report.test_terminal import rendered, squeezed
from tests.report.values import report

CONV = Layer(
    "/stage1/conv/Conv", "Conv", (1, 48, 112, 112), 1_344, 16_257_024, 7_225_344, 602_112, 2_408_448, 5_376, 3 * 10**6
)
LOST = Layer("lost", "test.Any", None, 7, 0, 0, 0, 0, 28, 512, known=False)
PROFILE = Profile(1_351, 7_225_344, (CONV, LOST), {"image": (1, 3, 224, 224)})
CENSUS = Census({"Conv": 1, "test.Any": 1}, 1_351, 5_404)


def lines(renderables):
    return [line for each in renderables for line in squeezed(rendered(each))]


def test_the_census_reads_well():
    assert lines(census_section(CENSUS, replace(PROFILE, layers=(CONV,)))) == [
        "",
        "Census",
        "nodes 2 (1 Conv, 1 test.Any)",
        "parameters 1,351",
        "MACs 16.26 M; Winograd F(2x2, 3x3): 7.23 M",
        "activations 602.11 kB read, 2.41 MB written; 7.23 MB live at the peak",
        "weights 5.38 kB read",
        "intensity 5.39 MACs per byte moved",
    ]


def test_what_the_figures_hold_for_is_said():
    assert list(condition_lines(replace(PROFILE, layers=(CONV,)))) == []
    assert list(condition_lines(replace(PROFILE, assumed=("image",), subgraphs=2))) == [
        "dynamic axes counted at image=1x3x224x224; --shape sets others",
        "2 graphs inside nodes counted once each, however often they run",
        "left out, since what they take is not known: lost",
    ]


def test_layers_have_one_line_each():
    assert lines(layer_section(PROFILE.layers)) == [
        "",
        "layer operator output params MACs moved live",
        "/stage1/conv Conv 1x48x112x112 1.34 k 16.3 M 3.02 MB 3.00 MB",
        "lost test.Any ? 7 ? ? 512 B",
    ]


@pytest.mark.parametrize(
    ("live", "shown"),
    [(0, "0 B"), (999, "999 B"), (1_000, "1.00 kB"), (9_996, "10.0 kB"), (99_960, "100 kB"), (999_600, "1.00 MB")],
)
def test_columns_have_three_digits(live, shown):
    assert lines(layer_section([replace(CONV, live_bytes=live)]))[-1].endswith(f"MB {shown}")


def crowded():
    wide = Layer(
        "/x" * 60 + "\x1b", "com.microsoft." + "Y" * 50, (10**9,) * 8, 10**14, 10**14, 0, 10**14, 10**14, 0, 10**14
    )
    return Profile(10**14, 10**14, (wide,) * 3, {"i" * 100: (1,) * 9}, ("i" * 100,), 3)


@pytest.mark.parametrize("width", [80, 60])
def test_no_line_is_wider_than_the_screen_and_nothing_steers_it(width):
    model = ModelFile("net.onnx", 10**13, Census({f"Operator{i}": 1 for i in range(60)}, 10**14, 10**14), crowded())
    text = rendered(inspect_report(report(before=model, after=model), every=False, per_layer=True), width)

    assert max(map(len, text.splitlines())) <= width
    assert "\x1b" not in text
    assert text.count(" 200 TB ") == 3
    assert "48 others" in " ".join(text.split())


def test_a_row_at_eighty_columns_is_cut_nowhere_but_in_its_names():
    (*_, line) = rendered(list(layer_section(crowded().layers))[-1]).splitlines()

    assert line.split() == [
        "..." + line.split()[0][3:],
        "com.m...YYY",
        "10000...00000",
        *["100", "T"] * 2,
        *["200", "TB"],
        *["100", "TB"],
    ]


def test_changes_are_shown_with_what_they_hold_for():
    assert list(profile_rows(PROFILE, replace(PROFILE, layers=(), peak_activation_bytes=0))) == [
        ("MACs", "16.26 M", "0"),
        ("Winograd multiplications", "7.23 M", "0"),
        ("activation traffic", "3.01 MB", "0 bytes"),
        ("peak live activations", "7.23 MB", "0 bytes"),
    ]


def profiled(**changes):
    before = replace(report().before, profile=replace(PROFILE, **changes))
    return report(before=before, after=replace(report().after, profile=PROFILE))


def test_fuse_shows_them_before_and_after():
    text = squeezed(rendered(fuse_report(profiled(assumed=("image",)))))

    at = text.index("file size 36.41 MB 33.27 MB")
    assert text[at + 1] == "MACs 16.26 M 16.26 M"
    assert text[at + 5] == "dynamic axes counted at image=1x3x224x224; --shape sets others"
    assert "Census" not in text


def test_layers_are_listed_where_asked_for():
    for per_layer in (False, True):
        text = rendered(inspect_report(profiled(), every=False, per_layer=per_layer))
        assert "\nCensus\n" in text
        assert ("/stage1/conv " in text) is per_layer


def test_the_json_has_every_figure_and_layer():
    found = json.loads(fuse_json(profiled(assumed=("image",))))["before"]["profile"]

    assert found["inputs"] == {"image": [1, 3, 224, 224]}
    assert {key: found[key] for key in ("assumed_inputs", "unknown", "macs", "peak_activation_bytes")} == {
        "assumed_inputs": ["image"],
        "unknown": ["lost"],
        "macs": 16_257_024,
        "peak_activation_bytes": 7_225_344,
    }
    assert found["layers"][0]["output_shape"] == [1, 48, 112, 112]
    assert found["layers"][1]["known"] is False
