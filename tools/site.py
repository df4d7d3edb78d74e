"""The documentation as a site: `python -m tools.site` makes build/site of Markdown and code.

Rules: plain Markdown in the checkout is the source, and reads well without this. A page that no
section names stands in the last one, so that none is lost. Files of the checkout that a page links
to are shown as pages, too. Every link within the site is followed to its end, the anchor; what
leads nowhere is told, and the exit status is 1.
"""

from __future__ import annotations

import html
import json
import posixpath
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from string import Template
from typing import Final, NamedTuple
from urllib.parse import unquote, urldefrag

from tools import markup, reference

OUT: Final = Path("build/site")
_HERE: Final = Path(__file__).parent
_PICTURES: Final = {".png", ".svg", ".jpg"}
_FRONT: Final = "README.md"
_OTHERS: Final = "More"

SECTIONS: Final[dict[str, tuple[str, ...]]] = {
    "Begin": (_FRONT, "docs/tutorial.md", "docs/promises.md"),
    "Use it": ("docs/client.md", "docs/cli.md", "docs/testing.md"),
    "Recipes": ("docs/recipes/README.md", "docs/recipes/"),
    "A science gateway": ("docs/gateway.md", "docs/gateway/", "examples/gateway/README.md"),
    "Operate it": (
        "docs/deployment.md",
        "docs/upgrading.md",
        "docs/tls.md",
        "docs/security.md",
        "docs/kerberos.md",
        "docs/threats.md",
        "docs/http.md",
        "docs/console.md",
        "docs/telemetry.md",
        "docs/tools.md",
    ),
    "Reference": ("reference/",),
    "Understand it": (
        "docs/architecture.md",
        "docs/benchmarks.md",
        "CONTRIBUTING.md",
        "CHANGELOG.md",
    ),
}
"""The navigation: documents, and folders for all that is in them and was not named before."""


class Page(NamedTuple):
    """One document, made."""

    address: str
    made: markup.Rendered


class Site:
    """Reads a checkout and makes the pages of its documents."""

    def __init__(self, top: Path) -> None:
        self._top = top
        found = [*top.glob("*.md"), *top.glob("docs/**/*.md"), *top.glob("examples/**/*.md")]
        self._texts = {
            path.relative_to(top).as_posix(): path.read_text(encoding="utf-8")
            for path in sorted(found)
        }
        self._texts.update({page.path: page.text for page in reference.pages(top)})
        self._sources: set[str] = set()
        self._pictures: set[str] = set()
        self.complaints: list[str] = []
        self.pages: dict[str, Page] = {}
        for name, text in self._texts.items():
            made = markup.render(text, lambda link, name=name: self._led(name, link))  # type: ignore[misc]
            self.pages[name] = Page(address(name), made)

    def _led(self, name: str, link: str) -> str | None:
        """From a link in the document `name` to the site's; of what is not there, as it was."""
        path, anchor = urldefrag(link)
        if not path or "://" in path or path.startswith("mailto:"):
            return link
        target = posixpath.normpath(posixpath.join(posixpath.dirname(name), unquote(path)))
        if name.startswith("reference/"):
            target = posixpath.normpath(posixpath.join("docs/reference", unquote(path)))
        found = self._target(target)
        if found is None:
            return None
        relative = posixpath.relpath(found, posixpath.dirname(address(name)) or ".")
        return f"{relative}#{anchor}" if anchor else relative

    def _target(self, target: str) -> str | None:
        """The address of a document or a file; None for what the site does not show."""
        if target in self._texts:
            return address(target)
        file = self._top / target
        if file.is_file() and file.resolve().is_relative_to(self._top.resolve()):
            if file.suffix in _PICTURES:
                self._pictures.add(target)
                return target.removeprefix("docs/")
            self._sources.add(target)
            return f"source/{target}.html"
        if not file.exists():
            self.complaints.append(f"{target} is not there")
        return None

    def navigation(self) -> Iterator[tuple[str, list[str]]]:
        """The sections, with the names of their documents."""
        left = dict.fromkeys(self._texts)
        chosen: dict[str, list[str]] = {}
        # Documents before folders: what one section names stands in no other.
        named = {name for names in SECTIONS.values() for name in names}
        for section, names in SECTIONS.items():
            chosen[section] = []
            for name in names:
                for each in list(left):
                    if each == name or (
                        name.endswith("/") and each.startswith(name) and each not in named
                    ):
                        chosen[section].append(each)
                        del left[each]
        chosen[_OTHERS] = list(left)
        yield from ((section, names) for section, names in chosen.items() if names)

    def write(self, out: Path) -> None:
        """Make the folder anew."""
        shutil.rmtree(out, ignore_errors=True)
        out.mkdir(parents=True)
        template = Template((_HERE / "site.html").read_text(encoding="utf-8"))
        for name, page in self.pages.items():
            _write(out / page.address, self._whole(template, page.address, name, page.made))
        for name in sorted(self._sources):
            shown = markup.source(self._top / name)
            title = html.escape(name)
            made = markup.Rendered(
                f"<h1><code>{title}</code></h1>\n{shown}", [markup.Heading(1, "", name)], []
            )
            path = f"source/{name}.html"
            _write(out / path, self._whole(template, path, None, made))
        for name in sorted(self._pictures):
            picture = out / name.removeprefix("docs/")
            picture.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(self._top / name, picture)
        style = (_HERE / "site.css").read_text(encoding="utf-8")
        _write(out / "site.css", f"{style}\n{markup.colours()}")
        script = (_HERE / "site.js").read_text(encoding="utf-8")
        _write(out / "site.js", f"const HEADINGS = {json.dumps(self._index())};\n{script}")

    def _whole(
        self, template: Template, path: str, name: str | None, made: markup.Rendered
    ) -> str:
        root = posixpath.relpath(".", posixpath.dirname(path) or ".")
        sections = []
        for section, names in self.navigation():
            items = "".join(self._item(each, root, here=each == name) for each in names)
            sections.append(f"<h2>{html.escape(section)}</h2><ul>{items}</ul>")
        parts = [heading for heading in made.headings if heading.level == 2]
        contents = "".join(
            f'<li><a href="#{heading.anchor}">{html.escape(heading.text)}</a></li>'
            for heading in parts
        )
        return template.substitute(
            title=html.escape(made.title),
            root=root,
            navigation="\n".join(sections),
            contents=f"<h2>On this page</h2><ul>{contents}</ul>" if len(parts) > 2 else "",
            page=made.html,
        )

    def _item(self, name: str, root: str, *, here: bool) -> str:
        page = self.pages[name]
        mark = ' aria-current="page"' if here else ""
        title = html.escape(page.made.title)
        return f'<li><a href="{root}/{page.address}"{mark}>{title}</a></li>'

    def _index(self) -> list[tuple[str, str, str]]:
        """What is searched: each heading, its page's title, where it is."""
        return [
            (heading.text, page.made.title, f"{page.address}#{heading.anchor}")
            for page in self.pages.values()
            for heading in page.made.headings
        ]

    def broken(self, out: Path) -> list[str]:
        """The links that lead nowhere in the site as it was written."""
        anchors = {
            page.address: {heading.anchor for heading in page.made.headings}
            for page in self.pages.values()
        }
        found = list(self.complaints)
        for name, page in self.pages.items():
            for link in page.made.links:
                path, anchor = urldefrag(link)
                if "://" in path or path.startswith("mailto:"):
                    continue
                target = page.address
                if path:
                    target = posixpath.normpath(
                        posixpath.join(posixpath.dirname(page.address), path)
                    )
                if not (out / target).is_file():
                    found.append(f"{name}: {link} is not there")
                elif anchor and target in anchors and anchor not in anchors[target]:
                    found.append(f"{name}: {link}: there is no such heading")
        return found


def address(name: str) -> str:
    """Where the page of a document is in the site."""
    inside = name.removeprefix("docs/").removesuffix(".md")
    folder, _, last = inside.rpartition("/")
    if last == "README":
        last = "index"
    elif not folder:
        last = last.lower() if last.isupper() else last
    return f"{folder}/{last}.html" if folder else f"{last}.html"


def _write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")


def main() -> int:
    site = Site(Path())
    site.write(OUT)
    broken = site.broken(OUT)
    for line in broken:
        print(line, file=sys.stderr)
    print(f"{len(site.pages)} pages in {OUT}, {len(broken)} links that lead nowhere")
    return 1 if broken else 0


if __name__ == "__main__":
    sys.exit(main())
