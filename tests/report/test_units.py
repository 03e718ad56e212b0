import pytest

from repvgg_onnx.report.units import count, duration, names, plural, printable, size


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (count(999_999), "999,999"),
        (count(1_000_000), "1.00 M"),
        (count(25_110_000_000), "25.11 B"),
        (size(999), "999 bytes"),
        (size(1_500), "1.50 kB"),
        (size(2_500_000_000), "2.50 GB"),
        (duration(999), "999 ns"),
        (duration(1_500), "1.50 us"),
        (duration(2_500_000_000), "2.50 s"),
        (plural(0, "node"), "0 nodes"),
        (plural(1, "node"), "1 node"),
        (plural(1_234, "node"), "1,234 nodes"),
    ],
)
def test_numbers_have_units(text, expected):
    assert text == expected


def test_three_names_are_shown_in_full():
    assert names(["a", "b", "c"]) == "a, b, c"


def test_more_names_are_counted():
    assert names(list("abcde")) == "a, b, c and 2 more"


def test_a_long_name_keeps_its_end():
    shown = names(["/stage1/" + "x" * 90 + "/Add_7"])

    assert len(shown) == 40
    assert shown.startswith("...")
    assert shown.endswith("/Add_7")


@pytest.mark.parametrize("char", ["\x1b", "\r", "\n", "\x9b", "\u202e", "\ud800"])
def test_control_characters_are_written_out(char):
    shown = printable(f"a{char}b")

    assert char not in shown
    assert shown.isprintable()
    assert (shown[0], shown[-1]) == ("a", "b")


def test_letters_of_any_script_stay():
    assert printable("слой/畳み込み 1") == "слой/畳み込み 1"
