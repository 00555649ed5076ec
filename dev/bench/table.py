"""What a benchmark says: a table that reads the same in a terminal and in Markdown."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median, quantiles

HEADINGS = ("measured", "figure", "yardstick", "ratio", "target", "")


@dataclass(frozen=True)
class Target:
    """What a figure should be: at most (or at least) `bound`. `judged` is the figure that it is about."""

    judged: float
    bound: float
    unit: str = ""
    at_least: bool = False

    @property
    def is_met(self) -> bool:
        return self.judged >= self.bound if self.at_least else self.judged <= self.bound

    def __str__(self) -> str:
        return f"{'≥' if self.at_least else '≤'} {self.bound:g} {self.unit}".strip()


@dataclass(frozen=True)
class Row:
    """One figure. `yardstick`: what it is held against, measured in the same run."""

    measured: str
    figure: str
    yardstick: str = ""
    ratio: float | None = None
    target: Target | None = None

    @property
    def cells(self) -> tuple[str, ...]:
        ratio = "" if self.ratio is None else f"{self.ratio:.2f}"
        met = "" if self.target is None else "met" if self.target.is_met else "MISSED"
        return self.measured, self.figure, self.yardstick, ratio, str(self.target or ""), met


@dataclass
class Table:
    """The figures of one benchmark."""

    title: str
    notes: list[str] = field(default_factory=list)
    rows: list[Row] = field(default_factory=list)

    def __str__(self) -> str:
        lines = [HEADINGS, *(row.cells for row in self.rows)]
        widths = [max(len(cells[column]) for cells in lines) for column in range(len(HEADINGS))]
        texts = [_line(cells, widths) for cells in lines]
        rule = "|" + "|".join("-" * (width + 2) for width in widths) + "|"
        return "\n".join([f"### {self.title}", "", texts[0], rule, *texts[1:], "", *self.notes])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    return "| " + " | ".join(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)) + " |"


def milliseconds(seconds: float) -> str:
    """Seconds, in thousandths."""
    return f"{seconds * 1000:.0f} ms" if seconds >= 0.01 else f"{seconds * 1000:.1f} ms"


def kilobytes(size: float) -> str:
    """Bytes, in units of 1024."""
    return f"{size / 1024:.1f} KB"


def spread(seconds: Sequence[float]) -> str:
    """Median and, for more than a handful, the 95th percentile, in seconds."""
    if len(seconds) < 5:
        return f"{median(seconds):.2f} s"
    return f"{median(seconds):.2f} s (p95 {quantiles(seconds, n=20, method='inclusive')[-1]:.2f} s)"
