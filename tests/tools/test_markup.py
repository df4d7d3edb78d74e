"""Markdown as pages: anchors as forges make them, links that are led on, code that is coloured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

markup: Any = pytest.importorskip("tools.markup", reason="markdown-it-py is for `make docs`")


def _same(link: str) -> str | None:
    return link


@pytest.mark.parametrize(
    ("heading", "anchor"),
    [
        ("Plain", "plain"),
        ("How new a read is", "how-new-a-read-is"),
        ("1. One order for all writes", "1-one-order-for-all-writes"),
        ("Who *may* do `what`?", "who-may-do-what"),
        ("A client's own order", "a-clients-own-order"),
        ("Where is ...: two hops", "where-is--two-hops"),
    ],
)
def test_an_anchor_is_what_forges_make_of_it(heading: str, anchor: str) -> None:
    made = markup.render(f"## {heading}\n", _same)
    assert [each.anchor for each in made.headings] == [anchor]
    assert f'<h2 id="{anchor}">' in made.html


def test_equal_headings_have_anchors_of_their_own() -> None:
    made = markup.render("# A\n\n## B\n\n## B\n\n## B\n", _same)
    assert [each.anchor for each in made.headings] == ["a", "b", "b-1", "b-2"]
    assert made.title == "A"


def test_links_are_led() -> None:
    led = {"one.md": "one.html", "a.png": "pictures/a.png"}
    made = markup.render("[one](one.md) [`two`](two.md) ![a](a.png)\n", led.get)
    assert '<a href="one.html">one</a>' in made.html
    assert "<span><code>two</code></span>" in made.html
    assert '<img src="pictures/a.png" alt="a"' in made.html
    assert made.links == ["one.html", "pictures/a.png"]


def test_code_is_coloured_by_its_first_word() -> None:
    made = markup.render("```python run\nif a: b\n```\n\n```nothing\n<x>\n```\n", _same)
    assert '<span class="k">if</span>' in made.html
    assert "&lt;x&gt;" in made.html


def test_a_list_needs_no_empty_line_before_it() -> None:
    """As pages are written here, and as CommonMark has it."""
    assert "<li>one</li>" in markup.render("**It promises**\n- one\n- two\n", _same).html


def test_html_in_a_page_of_tables_and_code_is_safe() -> None:
    made = markup.render("| a | b |\n|---|---|\n| `<i>` | 2 |\n", _same)
    assert "<td><code>&lt;i&gt;</code></td>" in made.html
    assert made.html.startswith('<div class="wide"><table>')


def test_a_source_is_shown_as_it_is(tmp_path: Path) -> None:
    file = tmp_path / "one.py"
    file.write_text("def one() -> None: ...  # <b>\n")
    shown = markup.source(file)
    assert "&lt;b&gt;" in shown
    (tmp_path / "two.unknown").write_text("<b>")
    assert "&lt;b&gt;" in markup.source(tmp_path / "two.unknown")


def test_colours_are_for_light_and_dark() -> None:
    light, _, dark = markup.colours().partition("@media (prefers-color-scheme: dark)")
    assert "pre .k " in light
    assert "pre .k " in dark
