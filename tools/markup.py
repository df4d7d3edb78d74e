"""Markdown to HTML, as pages of the site: headings with anchors, coloured code, links led on.

The Markdown is CommonMark with tables, which is what the pages are written in. Rule: a link is led
by who knows the site (`lead`); headings have the anchors that forges give them.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, NamedTuple

from markdown_it import MarkdownIt
from markdown_it.token import Token
from pygments import highlight  # type: ignore[import-untyped]
from pygments.formatters import HtmlFormatter  # type: ignore[import-untyped]
from pygments.lexers import (  # type: ignore[import-untyped]
    get_lexer_by_name,
    get_lexer_for_filename,
)
from pygments.util import ClassNotFound  # type: ignore[import-untyped]

Lead = Callable[[str], str | None]
"""From a link as it is written to one of the site; None: it leads nowhere there."""

_NO_SIGN: Final = re.compile(r"[^\w\- ]")


class Heading(NamedTuple):
    """One heading of a page."""

    level: int
    anchor: str
    text: str


class Rendered(NamedTuple):
    """A page's HTML and what is in it."""

    html: str
    headings: list[Heading]
    links: list[str]
    """Where its links and pictures lead, after they were led."""

    @property
    def title(self) -> str:
        """Its first heading."""
        return self.headings[0].text if self.headings else "Coterie"


def render(text: str, lead: Lead) -> Rendered:
    """A page."""
    markdown = MarkdownIt("commonmark", {"highlight": _coloured}).enable("table")
    tokens = markdown.parse(text)
    headings: list[Heading] = []
    links: list[str] = []
    for number, token in enumerate(tokens):
        if token.type == "heading_open":
            inside = tokens[number + 1]
            shown = _plain(inside.children or [])
            anchor = _anchor(shown, {heading.anchor for heading in headings})
            token.attrSet("id", anchor)
            headings.append(Heading(int(token.tag[1]), anchor, shown))
        elif token.type == "inline":
            _lead_all(token.children or [], lead, links)
    made = str(markdown.renderer.render(tokens, markdown.options, {}))
    wide = made.replace("<table>", '<div class="wide"><table>').replace(
        "</table>", "</table></div>"
    )
    return Rendered(wide, headings, links)


def source(path: Path) -> str:
    """A file of the checkout, coloured, with numbers at its lines."""
    text = path.read_text(encoding="utf-8", errors="replace")
    try:
        lexer = get_lexer_for_filename(path.name)
    except ClassNotFound:
        lexer = get_lexer_by_name("text")
    formatter = HtmlFormatter(linenos="inline", lineanchors="L", anchorlinenos=True)
    return str(highlight(text, lexer, formatter))


def colours() -> str:
    """The style sheet of coloured code, for a light page and for a dark one."""
    light = HtmlFormatter(style="default").get_style_defs("pre")
    dark = HtmlFormatter(style="github-dark").get_style_defs("pre")
    return f"{light}\n@media (prefers-color-scheme: dark) {{\n{dark}\n}}\n"


def _coloured(text: str, language: str, attributes: str) -> str:
    """What is between <pre> and </pre>; nothing: as it is."""
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        return ""
    inside = str(highlight(text, lexer, HtmlFormatter(nowrap=True)))
    return f"<pre><code>{inside}</code></pre>"


def _plain(tokens: Iterable[Token]) -> str:
    return "".join(token.content for token in tokens if token.type in ("text", "code_inline"))


def _anchor(text: str, taken: set[str]) -> str:
    plain = _NO_SIGN.sub("", text.lower()).replace(" ", "-")
    anchor, count = plain, 0
    while anchor in taken:
        count += 1
        anchor = f"{plain}-{count}"
    return anchor


def _lead_all(tokens: list[Token], lead: Lead, links: list[str]) -> None:
    """Lead the links and pictures of a paragraph; of a link that leads nowhere the text stays."""
    open_links: list[bool] = []
    for token in tokens:
        if token.type == "link_open":
            led = lead(str(token.attrGet("href")))
            open_links.append(led is not None)
            if led is None:
                token.tag, token.attrs = "span", {}
            else:
                token.attrSet("href", led)
                links.append(html.unescape(led))
        elif token.type == "link_close":
            if not open_links.pop():
                token.tag = "span"
        elif token.type == "image":
            led = lead(str(token.attrGet("src"))) or ""
            token.attrSet("src", led)
            links.append(led)
