"""What the page consists of: plain values, so that the template decides nothing."""

from dataclasses import dataclass

from repvgg_onnx.report.html.drawing import Picture


@dataclass(frozen=True)
class Card:
    """One figure: what it is, its value, and under which conditions."""

    label: str
    value: str
    note: str = ""


@dataclass(frozen=True)
class Cell:
    """A field of a table: what it shows, and the number that it sorts by if it is one."""

    text: str
    number: float | None = None
    code: bool = False


@dataclass(frozen=True)
class Table:
    """A table with a heading for each column."""

    title: str
    head: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class Chart:
    """A picture of figures, as SVG, and what it shows."""

    title: str
    note: str
    svg: str


@dataclass(frozen=True)
class Change:
    """Alike regions: how many, what they were and became in words and pictures, and where they are."""

    times: int
    before: str
    after: str
    pictures: tuple[Picture, Picture]
    where: tuple[str, ...]


@dataclass(frozen=True)
class Part:
    """What there is to say of one model, of two that were compared, or of some that were measured.

    Attributes:
        title: what it is about.
        tone: ``good``, ``bad`` or ``plain``.
        verdict: how it ended, in a word or two.
        sentences: what has to be said in words.
        cards: the figures that count.
        changes: what was folded, or could be.
        charts: pictures of figures.
        tables: everything else.
    """

    title: str
    tone: str
    verdict: str
    sentences: tuple[str, ...] = ()
    cards: tuple[Card, ...] = ()
    changes: tuple[Change, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
