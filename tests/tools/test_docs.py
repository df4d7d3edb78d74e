"""The check of the documents: what it takes for a name, and where it looks for it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import docs


@pytest.fixture
def top(tmp_path: Path) -> Path:
    """A checkout with a document, a module and a test."""
    for name in ("docs/guide.md", "coterie/core/tree.py", "tests/core/test_tree.py"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("")
    return tmp_path


def _missing(top: Path, text: str, name: str = "README.md") -> list[str]:
    document = top / name
    document.write_text(text)
    said = docs.missing(document, top)
    assert all(line.startswith(f"{document}: ") for line in said)
    return [line.removeprefix(f"{document}: ").removesuffix(" is not there") for line in said]


@pytest.mark.parametrize(
    "text",
    [
        "[guide](docs/guide.md)",
        "[part](docs/guide.md#part)",
        "[module](coterie/core/tree.py) and [folder](coterie/core/)",
        "`coterie/core/tree.py`",
        "`tests/core`",
        "`tests/core/test_tree.py`",
        "`tests/*/test_tree.py`",
        # Short for what is in the package.
        "`core/tree.py` and `core/*.py`",
    ],
)
def test_what_is_there(top: Path, text: str) -> None:
    assert _missing(top, text) == []


@pytest.mark.parametrize(
    ("text", "lost"),
    [
        ("[guide](docs/gone.md)", ["docs/gone.md"]),
        ("[guide](guide.md)", ["guide.md"]),
        ("`coterie/core/gone.py`", ["coterie/core/gone.py"]),
        ("`core/gone.py`", ["core/gone.py"]),
        ("`storage/gone.py`, `system/gone.py`", ["storage/gone.py", "system/gone.py"]),
        ("`tests/*/test_gone.py`", ["tests/*/test_gone.py"]),
        ("[a](gone.md) `core/gone.py` [b](lost.md)", ["gone.md", "lost.md", "core/gone.py"]),
    ],
)
def test_what_leads_nowhere(top: Path, text: str, lost: list[str]) -> None:
    assert _missing(top, text) == lost


@pytest.mark.parametrize(
    "text",
    [
        "[site](https://example.org/gone.md)",
        "[part](#part)",
        "`make test` and `and/or`",
        "coterie/core/gone.py without ticks",
    ],
)
def test_what_is_no_name_of_a_file(top: Path, text: str) -> None:
    assert _missing(top, text) == []


def test_a_test_that_is_named_is_there(top: Path) -> None:
    (top / "tests/core/test_tree.py").write_text(
        "def test_one() -> None: ...\n\nasync def test_two() -> None: ...\n"
    )
    text = "`tests/core/test_tree.py::test_one`, `tests/core/test_tree.py::test_two`"
    assert _missing(top, text) == []
    text = "`tests/core/test_tree.py::test_t` and `tests/core/test_gone.py::test_one`"
    assert _missing(top, text) == [
        "tests/core/test_tree.py::test_t",
        "tests/core/test_gone.py::test_one",
    ]


def test_links_count_from_the_document_and_paths_from_the_top(top: Path) -> None:
    text = "[module](../coterie/core/tree.py) `coterie/core/tree.py`"
    assert _missing(top, text, "docs/guide.md") == []
    assert _missing(top, "[module](coterie/core/tree.py)", "docs/guide.md") == [
        "coterie/core/tree.py"
    ]


def test_the_whole_check(
    top: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(top)
    (top / "README.md").write_text("[guide](docs/guide.md)")
    assert docs.main() == 0
    assert capsys.readouterr() == ("2 documents read, 0 names that lead nowhere\n", "")
    (top / "docs" / "deep").mkdir()
    (top / "docs" / "deep" / "page.md").write_text("`core/gone.py`")
    assert docs.main() == 1
    said = capsys.readouterr()
    assert said.out == "3 documents read, 1 names that lead nowhere\n"
    assert said.err == "docs/deep/page.md: core/gone.py is not there\n"
