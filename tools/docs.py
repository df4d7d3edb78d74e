"""Check that the documents name what exists: links to files, paths in backticks, and tests.

A test is named as pytest does, `tests/core/test_tree.py::test_name`, and has to be defined there.

Run as `python -m tools.docs` from the top of the checkout; ends with status 1 and a line for each
name that leads nowhere.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

_LINK = re.compile(r"\]\(([^)#:]+)(?:#[^)]*)?\)")
_TOP = "coterie|tests|docs|deploy|benchmarks|examples|tools"
_PACKAGES = "admin|cli|client|core|gateway|runtime|storage|system|testing|wire"
_PATH = re.compile(rf"`((?:{_TOP}|{_PACKAGES})/[\w./*-]+)`")
_TEST = re.compile(r"`(tests/[\w./-]+\.py)::(\w+)`")


def missing(document: Path, top: Path) -> list[str]:
    """What `document` names and is not there."""
    text = document.read_text(encoding="utf-8")
    lost = [link for link in _LINK.findall(text) if not (document.parent / link).exists()]
    for path in _PATH.findall(text):
        found = any(next(base.glob(path), None) for base in (top, top / "coterie"))
        if not found:
            lost.append(path)
    for path, name in _TEST.findall(text):
        if not (top / path).exists() or not _defines(top / path, name):
            lost.append(f"{path}::{name}")
    return [f"{document}: {name} is not there" for name in lost]


def _defines(module: Path, name: str) -> bool:
    text = module.read_text(encoding="utf-8")
    return re.search(rf"^\s*(?:async )?def {name}\(", text, re.MULTILINE) is not None


def main() -> int:
    top = Path()
    documents = [*top.glob("*.md"), *top.glob("docs/**/*.md")]
    complaints = [line for document in documents for line in missing(document, top)]
    for line in complaints:
        print(line, file=sys.stderr)
    print(f"{len(documents)} documents read, {len(complaints)} names that lead nowhere")
    return 1 if complaints else 0


if __name__ == "__main__":
    sys.exit(main())
