"""The page in a browser: nothing complains, everything is there and fits, in both schemes and on paper."""

import shutil

import onnx
import pytest
from playwright.sync_api import sync_playwright

from tests.cli.models import BLOCK, PLAIN, filled
from tests.models import build

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
OPTIONS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"]
LONG = "a_very_long_name_without_a_single_blank/" * 6

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs an installed Chromium or Chrome")


@pytest.fixture(scope="module")
def browser():
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=OPTIONS)
        yield started
        started.close()


@pytest.fixture
def page_of(run, tmp_path, browser):
    """The page of a command, opened; whatever it complains about or asks for is in its ``complaints``."""
    opened = []

    def page_of(*arguments, width=1280, scheme="light"):
        path = tmp_path / "report.html"
        run(*arguments, "--report", f"html:{path}", "--quiet")
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        opened.append(page)
        page.complaints = []
        page.on("console", lambda message: page.complaints.append(message.text))
        page.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.on("request", lambda request: page.complaints.append(request.url) if "file:" not in request.url else None)
        page.goto(path.as_uri())
        return page

    yield page_of
    for page in opened:
        page.close()


@pytest.fixture
def models(tmp_path):
    """Two models, one with names that want to be markup and one with names that want to be wide."""
    hostile = filled(BLOCK)
    for node in hostile.graph.node:
        node.name = f"</title></svg><script>document.title='taken'</script>{node.output[0]}"
    wide = filled(BLOCK, seed=1)
    for node in wide.graph.node:
        node.name = LONG + node.output[0]
    paths = [tmp_path / "hostile.onnx", tmp_path / "wide.onnx"]
    for model, path in zip((hostile, wide), paths, strict=True):
        onnx.save(model, path)
    return paths


def overflow(page):
    return page.evaluate("document.documentElement.scrollWidth - window.innerWidth")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_region_has_its_pictures_and_nothing_complains(page_of, models, scheme):
    page = page_of("fuse", *models, "--bench-seconds", "0.05", scheme=scheme)

    assert page.complaints == []
    assert page.title() == "2 models: 2 fused – repvgg-onnx"
    assert page.locator("section.part").count() == 2
    drawings = page.locator(".drawing")
    assert drawings.count() == 4
    assert all(drawings.nth(index).bounding_box()["height"] > 100 for index in range(4))
    assert page.locator("svg.chart").count() == 8


@pytest.mark.parametrize("width", [1280, 768, 390])
def test_nothing_is_wider_than_the_window(page_of, models, width):
    assert overflow(page_of("fuse", *models, "--bench-seconds", "0.05", width=width)) <= 0


@pytest.mark.parametrize("width", [1280, 768, 390])
def test_no_picture_is_cut_off(page_of, tmp_path, width):
    """A sum of twenty different branches, each a chain, in one of another."""
    kernels = {f"k{index}": (4, 4, index // 5 * 2 + 1, index % 5 * 2 + 1) for index in range(20)}
    branches = [
        f"b{index} = Conv <pads = [{h // 2}, {w // 2}, {h // 2}, {w // 2}]> (in, k{index})"
        for index, (_, _, h, w) in enumerate(kernels.values())
    ]
    scaled = [f"s{index} = Mul (b{index}, gain)" for index in range(20)]
    summed = [f"inner = Sum ({', '.join(f's{index}' for index in range(20))})", "both = Add (inner, in)"]
    text = "  ".join([*branches, *scaled, *summed, "out = Relu (both)"])
    model = build(f"net (float[1, 4, 25, 27] in) => (float[1, 4, 25, 27] out) {{ {text} }}", gain=(4, 1, 1), **kernels)
    onnx.save(model, tmp_path / "net.onnx")
    page = page_of("check", tmp_path / "net.onnx", width=width)

    assert page.locator(".drawing").first.locator(".box").count() == 2 * 20 + len(
        ("in", "Sum", "identity", "Add", "out")
    )
    assert overflow(page) <= 0
    assert page.evaluate(
        """[...document.querySelectorAll(".pictures .box")].every(box => {
            const inside = box.getBoundingClientRect();
            const around = box.closest("figure").getBoundingClientRect();
            return box.scrollWidth <= box.clientWidth + 1
                && inside.left >= around.left - 1 && inside.right <= around.right + 1;
        })"""
    )


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_text_and_paper_are_far_apart_in_both_schemes(page_of, block, scheme):
    page = page_of("check", block, scheme=scheme)

    def brightness(selector, key):
        return page.evaluate(
            "([selector, key]) => getComputedStyle(document.querySelector(selector))[key].match(/\\d+/g).slice(0, 3)"
            ".reduce((sum, part) => sum + Number(part) / 765, 0)",
            [selector, key],
        )

    paper = brightness("main > section", "backgroundColor")
    assert paper > 0.9 if scheme == "light" else paper < 0.2
    for selector, key in (("h2", "color"), (".drawing .box", "color"), (".chart", "color"), ("td", "color")):
        assert abs(brightness(selector, key) - paper) > 0.4


def test_a_click_sorts_a_table_by_its_numbers_and_back(page_of, models, tmp_path):
    page = page_of("check", *models)
    body = "table:has(th:nth-child(7)) tbody"
    page.evaluate(
        """selector => {
            const body = document.querySelector(selector);
            for (const number of [7, 1000, 30]) {
                const row = body.rows[0].cloneNode(true);
                row.cells[4].dataset.number = number;
                row.cells[4].textContent = `${number} MACs`;
                body.append(row);
            }
        }""",
        body,
    )
    heading = page.locator("table:has(th:nth-child(7)) th").nth(4)

    def cells():
        return page.evaluate(
            "selector => [...document.querySelector(selector).rows].map(row => Number(row.cells[4].dataset.number))",
            body,
        )

    heading.locator("button").click()
    assert cells() == sorted(cells())
    assert heading.get_attribute("aria-sort") == "ascending"
    heading.locator("button").click()
    assert cells() == sorted(cells(), reverse=True)


def test_it_prints(page_of, block):
    page = page_of("fuse", block, "--bench-seconds", "0.05", width=794, scheme="dark")

    printed = page.pdf(format="A4")

    assert printed.startswith(b"%PDF")
    page.emulate_media(media="print")
    assert overflow(page) <= 0
    assert page.evaluate("getComputedStyle(document.querySelector('h2')).color") == "rgb(27, 35, 48)"
    assert page.evaluate(
        "[...document.querySelectorAll('.scroll')].every(box => box.scrollHeight <= box.clientHeight + 1)"
    )


def test_the_pages_of_other_commands(page_of, block, tmp_path):
    onnx.save(filled(PLAIN), tmp_path / "other.onnx")

    compared = page_of("verify", block, tmp_path / "other.onnx", "--bisect")
    measured = page_of("bench", block, tmp_path / "other.onnx", "--seconds", "0.05", width=390)

    assert (compared.complaints, measured.complaints) == ([], [])
    assert compared.locator("header.bad h1").inner_text().startswith("Different outputs")
    assert measured.locator("svg.chart").count() == 1
    assert overflow(compared) <= 0
    assert overflow(measured) <= 0
