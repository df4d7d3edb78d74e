"""The site: every document has its page and its place, and every link leads somewhere."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tools import reference

site: Any = pytest.importorskip("tools.site", reason="markdown-it-py is for `make docs`")

Make = Callable[..., Any]


@pytest.fixture
def make(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Make:
    """A site of a checkout with these files, without a reference."""
    monkeypatch.setattr(reference, "pages", lambda top: [])

    def made(**texts: str) -> Any:
        for name, text in texts.items():
            path = tmp_path / "top" / name.replace("__", "/").replace("_md", ".md")
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
        return site.Site(tmp_path / "top")

    return made


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("README.md", "index.html"),
        ("docs/tutorial.md", "tutorial.html"),
        ("docs/recipes/README.md", "recipes/index.html"),
        ("docs/recipes/lock.md", "recipes/lock.html"),
        ("CHANGELOG.md", "changelog.html"),
        ("examples/gateway/README.md", "examples/gateway/index.html"),
        ("reference/client.md", "reference/client.html"),
    ],
)
def test_addresses(name: str, where: str) -> None:
    assert site.address(name) == where


def test_links_lead_from_page_to_page(make: Make, tmp_path: Path) -> None:
    made = make(
        README_md="# Top\n\n[guide](docs/guide.md#part) [module](coterie/a.py) [folder](coterie/)",
        docs__guide_md="# Guide\n\n## Part\n\n[top](../README.md) [out](https://example.org/)",
        **{"coterie__a.py": "a = 1\n"},
    )
    out = tmp_path / "site"
    made.write(out)
    assert made.broken(out) == []
    top = (out / "index.html").read_text()
    assert 'href="guide.html#part"' in top
    assert 'href="source/coterie/a.py.html"' in top
    assert "<span>folder</span>" in top
    guide = (out / "guide.html").read_text()
    assert '<a href="index.html">top</a>' in guide
    assert '<a href="https://example.org/">out</a>' in guide
    assert (out / "source/coterie/a.py.html").exists()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[a](docs/gone.md)", "docs/gone.md is not there"),
        ("[a](docs/guide.md#gone)", "README.md: guide.html#gone: there is no such heading"),
        ("[a](#gone)", "README.md: #gone: there is no such heading"),
        ("![a](gone.png)", "gone.png is not there"),
    ],
)
def test_what_leads_nowhere_is_told(make: Make, tmp_path: Path, text: str, complaint: str) -> None:
    made = make(README_md=f"# Top\n\n{text}", docs__guide_md="# Guide\n")
    made.write(tmp_path / "site")
    assert complaint in made.broken(tmp_path / "site")


def test_every_document_has_one_place(make: Make) -> None:
    made = make(
        README_md="# Top",
        docs__tutorial_md="# T",
        docs__recipes__README_md="# R",
        docs__recipes__lock_md="# L",
        docs__gateway__odd_md="# O",
        docs__unheard_md="# U",
    )
    found = dict(made.navigation())
    assert found["Begin"] == ["README.md", "docs/tutorial.md"]
    assert found["Recipes"] == ["docs/recipes/README.md", "docs/recipes/lock.md"]
    assert found["More"] == ["docs/unheard.md"]
    assert "Reference" not in found, "a section without pages is none"
    assert sorted(name for names in found.values() for name in names) == sorted(made.pages)


def test_pages_know_their_way_to_the_top(make: Make, tmp_path: Path) -> None:
    made = make(README_md="# Top & 1 < 2", docs__recipes__lock_md="# Lock")
    made.write(tmp_path)
    lock = (tmp_path / "recipes/lock.html").read_text()
    assert '<link rel="stylesheet" href="../site.css">' in lock
    assert '<a href="../index.html">Top &amp; 1 &lt; 2</a>' in lock
    assert re.search(r'<a href="[^"]*recipes/lock\.html" aria-current="page">Lock</a>', lock)
    assert '["Lock", "Lock", "recipes/lock.html#lock"]' in (tmp_path / "site.js").read_text()


@pytest.mark.slow
def test_the_whole_site_of_this_checkout(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(Path(__file__).parent.parent.parent)
    monkeypatch.setattr(site, "OUT", tmp_path / "site")
    status = site.main()
    assert (status, capsys.readouterr().err) == (0, "")
    for name in ("index", "tutorial", "promises", "reference/settings", "reference/commands"):
        assert (tmp_path / f"site/{name}.html").is_file()
