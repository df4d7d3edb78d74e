"""The chart of ratios: one bar for each result, as SVG text.

Two panels, because the direction differs: throughput, where a long bar is good, and time and
memory, where a short one is. Each panel has its own scale from 0, so lengths can be compared
within it; a line stands at 1, where both servers are the same, and a mark at each aim.
"""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Final

from benchmarks.results import Result

_WIDTH: Final = 980
_LABEL_RIGHT: Final = 440
_BAR_RIGHT: Final = 910
_ROW: Final = 24
_BAR: Final = 15
_TITLE: Final = 64
_PANEL_HEAD: Final = 34
_AXIS: Final = 46
_STEPS: Final = (0.1, 0.2, 0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0)
_TICKS_MAX: Final = 8

_STYLE: Final = """\
<style>
text { font: 13px system-ui, sans-serif; fill: #24292f }
.title { font-size: 18px; font-weight: 600 }
.panel { font-weight: 600 }
.note, .tick { font-size: 12px; fill: #57606a }
.grid { stroke: #d8dee4 }
.one { stroke: #24292f; stroke-width: 1.5 }
.aim { stroke: #24292f; stroke-width: 2; stroke-dasharray: 3 2 }
.better { fill: #2f7d6b }
.worse { fill: #c0603a }
</style>"""


def draw(results: Sequence[Result], subtitle: str) -> str:
    """The whole picture. Results without a ratio are left out."""
    shown = [result for result in results if result.ratio is not None]
    panels = [
        ("Throughput: longer is better", [each for each in shown if each.more_is_better]),
        (
            "Time and memory: shorter is better",
            [each for each in shown if not each.more_is_better],
        ),
    ]
    top: float = _TITLE
    parts: list[str] = []
    for title, rows in panels:
        if rows:
            drawn, top = _panel(title, rows, top)
            parts += drawn
    head = [
        (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top}" '
            f'width="{_WIDTH}" height="{top}" role="img" aria-labelledby="title">'
        ),
        '<title id="title">Coterie beside Apache ZooKeeper</title>',
        _STYLE,
        f'<rect width="{_WIDTH}" height="{top}" fill="#ffffff"/>',
        _text(20, 28, "Coterie beside Apache ZooKeeper", "title"),
        _text(20, 48, subtitle, "note"),
    ]
    return "\n".join([*head, *parts, "</svg>"]) + "\n"


def _panel(title: str, results: Sequence[Result], top: float) -> tuple[list[str], float]:
    """A panel that begins at `top`, and where it ends."""
    ratios = [(result, ratio) for result in results if (ratio := result.ratio) is not None]
    most = max(1.0, *(ratio for _, ratio in ratios), *(result.aim or 0 for result in results))
    step = next((each for each in _STEPS if most / each <= _TICKS_MAX), most)
    scale = (_BAR_RIGHT - _LABEL_RIGHT) / most
    first = top + _PANEL_HEAD
    bottom = first + _ROW * len(ratios)
    parts = [_text(20, top + 20, title, "panel")]
    for number in range(int(most / step) + 1):
        x = _LABEL_RIGHT + number * step * scale
        parts.append(_line(x, first, x, bottom, "grid"))
        parts.append(_text(x, bottom + 16, f"{number * step:g}", "tick", "middle"))
    for number, (result, ratio) in enumerate(ratios):
        parts += _row(result, ratio, first + number * _ROW, scale)
    x = _LABEL_RIGHT + scale
    parts.append(_line(x, first - 4, x, bottom, "one"))
    parts.append(_text(_WIDTH - 20, first - 8, "ratio", "tick", "end"))
    middle = (_LABEL_RIGHT + _BAR_RIGHT) / 2
    axis = "Coterie's figure divided by Apache ZooKeeper's (dashed: the aim)"
    parts.append(_text(middle, bottom + 34, axis, "tick", "middle"))
    return parts, bottom + _AXIS


def _row(result: Result, ratio: float, top: float, scale: float) -> list[str]:
    better = ratio >= 1 if result.more_is_better else ratio <= 1
    width = ratio * scale
    baseline = top + 12
    label = f"{result.label}, {result.case}"
    parts = [
        _text(_LABEL_RIGHT - 8, baseline, label, anchor="end"),
        (
            f'<rect class="{"better" if better else "worse"}" x="{_LABEL_RIGHT}" y="{top:.1f}" '
            f'width="{width:.1f}" height="{_BAR}"/>'
        ),
        _text(_WIDTH - 20, baseline, f"{ratio:.2f}", anchor="end"),
    ]
    if result.aim is not None:
        x = _LABEL_RIGHT + result.aim * scale
        parts.append(_line(x, top - 2, x, top + _BAR + 2, "aim"))
    return parts


def _text(x: float, y: float, text: str, style: str = "", anchor: str = "start") -> str:
    kind = f' class="{style}"' if style else ""
    return f'<text{kind} x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, style: str) -> str:
    return f'<line class="{style}" x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}"/>'
