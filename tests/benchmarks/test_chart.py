"""The chart: well-formed, and as long as its ratios say."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest

from benchmarks import chart
from benchmarks.results import Result

SVG = "{http://www.w3.org/2000/svg}"


def _result(label: str, more_is_better: bool, coterie: float, aim: float | None = None) -> Result:
    result = Result("group", label, "1x1", "/s", more_is_better, aim=aim)
    result.add("coterie", coterie)
    result.add("apache", 10.0)
    return result


@pytest.fixture
def results() -> list[Result]:
    alone = Result("group", "no ratio", "1x1", "/s", True)
    alone.add("coterie", 1.0)
    return [
        _result("reads < writes", True, 50.0, aim=4.0),
        _result("writes", True, 5.0),
        _result("memory", False, 5.0, aim=0.65),
        alone,
    ]


def test_bars_are_as_long_as_the_ratios(results: list[Result]) -> None:
    root = ET.fromstring(chart.draw(results, "a subtitle"))
    bars = [bar for bar in root.iter(f"{SVG}rect") if bar.get("class")]
    widths = [float(bar.get("width", "")) for bar in bars]
    assert [bar.get("class") for bar in bars] == ["better", "worse", "better"]
    assert widths[0] == pytest.approx(10 * widths[1], rel=0.01)
    aims = [line for line in root.iter(f"{SVG}line") if line.get("class") == "aim"]
    assert float(aims[0].get("x1", "")) == pytest.approx(
        float(bars[0].get("x", "")) + 0.8 * widths[0], rel=0.01
    )
    assert len(aims) == 2


def test_everything_is_inside_the_picture(results: list[Result]) -> None:
    root = ET.fromstring(chart.draw(results, "a subtitle"))
    width, height = (float(root.get(name, "")) for name in ("width", "height"))
    for element in root.iter():
        for name, most in (("x", width), ("x2", width), ("y", height), ("y2", height)):
            assert 0 <= float(element.get(name, "0")) <= most


def test_texts_name_results_panels_and_axes(results: list[Result]) -> None:
    root = ET.fromstring(chart.draw(results, "a subtitle"))
    texts = [element.text for element in root.iter(f"{SVG}text")]
    assert {"a subtitle", "reads < writes, 1x1", "memory, 1x1", "5.00", "0.50"} <= set(texts)
    assert {"Throughput: longer is better", "Time and memory: shorter is better"} <= set(texts)
    assert not any("no ratio" in (text or "") for text in texts)


def test_a_panel_without_results_is_left_out(results: list[Result]) -> None:
    assert "shorter is better" not in chart.draw(results[:2], "a subtitle")
