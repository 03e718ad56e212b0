"""What was measured, kept in ``results.json`` after every row, so that a long run can be stopped and resumed."""

import json
import os
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from measures import Counts, Speed
from published import Comparison, Cost, comparisons

SCHEMA_VERSION = 1


class OtherConditions(Exception):  # noqa: N818
    """Rows measured under different conditions do not belong in one file; the message says what differs."""


@dataclass(frozen=True)
class Result:
    """One row.

    Attributes:
        table: number of the paper's table.
        label: the row, as the paper writes it.
        paper_ratio: how many times as fast as its reference the paper found it.
        reference: what that reference is called in the zoo.
        paper_cost: the paper's columns Params, Theo FLOPs and Wino MULs; None outside of tables 4 and 5.
        counts: the same, counted in the ONNX file.
        differs: columns whose printed form is not the paper's.
        speed: as measured here.
        date: day of the measurement.
        unavailable: why nothing was measured; None if it was.
    """

    table: int
    label: str
    paper_ratio: float
    reference: str
    paper_cost: Cost | None = None
    counts: Counts | None = None
    differs: tuple[str, ...] = ()
    speed: Speed | None = None
    date: str | None = None
    unavailable: str | None = None

    @classmethod
    def from_json(cls, record: dict[str, Any]) -> "Result":
        """The row that ``asdict`` made a record of."""
        parts = {
            "counts": record["counts"] and Counts(**record["counts"]),
            "speed": record["speed"] and Speed(**record["speed"]),
            "differs": tuple(record["differs"]),
        }
        return cls(**(record | parts))


@dataclass
class Results:
    """All rows of one run or of several under the same conditions.

    Attributes:
        folder: where ``results.json`` and the files made of it lie.
        conditions: what the speeds depend on besides the network.
        rows: by table and label.
    """

    folder: Path
    conditions: dict[str, Any]
    rows: dict[tuple[int, str], Result] = field(default_factory=dict)

    @classmethod
    def open(cls, folder: Path, conditions: dict[str, Any], *, fresh: bool) -> "Results":
        """The rows that ``folder`` has of these conditions, or none if ``fresh``.

        Raises:
            OtherConditions: it has rows of other ones.
        """
        path = folder / "results.json"
        if fresh or not path.exists():
            return cls(folder, conditions)
        stored = json.loads(path.read_text(encoding="utf-8"))
        differing = [name for name in conditions if stored["conditions"].get(name) != conditions[name]]
        if differing:
            pairs = (f"{name} {stored['conditions'].get(name)} and not {conditions[name]}" for name in differing)
            raise OtherConditions(f"{path} was measured with {', '.join(pairs)}: give another --output, or --fresh")
        rows = map(Result.from_json, stored["rows"])
        return cls(folder, conditions, {(row.table, row.label): row for row in rows})

    def has(self, comparison: Comparison) -> bool:
        """Whether the row was measured already."""
        row = self.rows.get((comparison.table, comparison.label))
        return row is not None and row.unavailable is None

    def add(self, row: Result) -> None:
        """Keep a row, on disk too; the old file is whole until the new one is."""
        self.rows[row.table, row.label] = row
        content = {
            "schema_version": SCHEMA_VERSION,
            "conditions": self.conditions,
            "rows": [asdict(each) for each in self.rows.values()],
        }
        self.folder.mkdir(parents=True, exist_ok=True)
        staged = self.folder / "results.json.part"
        staged.write_text(json.dumps(content, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        os.replace(staged, self.folder / "results.json")

    def of_table(self, table: int) -> list[Result]:
        """The rows of one table, in the paper's order."""
        labels = [comparison.label for comparison in comparisons() if comparison.table == table]
        return [self.rows[table, label] for label in labels if (table, label) in self.rows]
