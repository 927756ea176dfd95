"""Dot plots as SVG, by hand. Text and marks follow the reader's light or dark scheme."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

WIDTH, LABELS, RIGHT = 820, 340, 80
ROW, HEADING, TOP, BOTTOM = 20, 34, 52, 34

STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328; }
  .title { font-size: 16px; font-weight: 600; }
  .heading { font-weight: 600; }
  .small { font-size: 11px; fill: #59636e; }
  .ours { font-weight: 600; }
  line { stroke: #d1d9e0; }
  circle { fill: #59636e; }
  .page { fill: #ffffff; }
  .mark-ours { fill: #0969da; }
  .mark-floor { fill: none; stroke: #59636e; stroke-width: 1.5; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .small { fill: #9198a1; }
    line { stroke: #3d444d; }
    circle { fill: #9198a1; }
    .page { fill: #0d1117; }
    .mark-ours { fill: #4493f8; }
    .mark-floor { fill: none; stroke: #9198a1; }
  }
"""


@dataclass(frozen=True, slots=True)
class Row:
    label: str
    value: float | None
    # "ours", "floor" or "".
    kind: str = ""
    # The text in place of a missing value.
    instead: str = "not measured"


@dataclass(frozen=True, slots=True)
class Panel:
    heading: str
    rows: Sequence[Row]


def dot_plot(title: str, unit: str, panels: Sequence[Panel]) -> str:
    """One dot a row on a logarithmic axis that all panels share. Less is better in every chart."""
    low, high = _decades([row.value for panel in panels for row in panel.rows if row.value])
    height = TOP + BOTTOM + sum(HEADING + ROW * len(panel.rows) for panel in panels)
    size = f'viewBox="0 0 {WIDTH} {height}" width="{WIDTH}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} role="img" aria-label="{escape(title)}">',
        f"<style>{STYLE}</style>",
        # The picture has its own background: the page around it may follow another scheme.
        f'<rect class="page" width="{WIDTH}" height="{height}" rx="6"/>',
        f'<text class="title" x="8" y="22">{escape(title)}</text>',
        f'<text class="small" x="8" y="40">{escape(unit)}; less is better, each line is ten times the last</text>',
    ]
    for decade in range(low, high + 1):
        x = _x(10.0**decade, low, high)
        parts.append(f'<line x1="{x:.1f}" x2="{x:.1f}" y1="{TOP}" y2="{height - BOTTOM}"/>')
        at = f'x="{x:.1f}" y="{height - BOTTOM + 16}" text-anchor="middle"'
        parts.append(f'<text class="small" {at}>{10.0**decade:g}</text>')
    y = float(TOP)
    for panel in panels:
        parts.append(f'<text class="heading" x="8" y="{y + 22:.0f}">{escape(panel.heading)}</text>')
        y += HEADING
        for row in panel.rows:
            parts += _row(row, y, low, high)
            y += ROW
    return "\n".join([*parts, "</svg>", ""])


def _row(row: Row, y: float, low: int, high: int) -> list[str]:
    label = f'<text class="{row.kind}" x="20" y="{y + 11:.0f}">{escape(row.label)}</text>'
    if not row.value:
        return [label, f'<text class="small" x="{LABELS + 6}" y="{y + 11:.0f}">{escape(row.instead)}</text>']
    x, middle = _x(row.value, low, high), y + 7
    return [
        label,
        f'<line x1="{LABELS}" x2="{x:.1f}" y1="{middle:.0f}" y2="{middle:.0f}"/>',
        f'<circle class="mark-{row.kind}" cx="{x:.1f}" cy="{middle:.0f}" r="5"/>',
        f'<text class="{row.kind}" x="{x + 10:.1f}" y="{y + 11:.0f}">{short(row.value)}</text>',
    ]


def short(value: float) -> str:
    """A figure in about three digits."""
    if value >= 100:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def _decades(values: Sequence[float]) -> tuple[int, int]:
    low = math.floor(math.log10(min(values, default=1)))
    return low, max(low + 1, math.ceil(math.log10(max(values, default=10))))


def _x(value: float, low: int, high: int) -> float:
    return LABELS + (math.log10(value) - low) / (high - low) * (WIDTH - LABELS - RIGHT)
