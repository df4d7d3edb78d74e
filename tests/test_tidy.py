"""What the linters do not see: lengths, first sentences, test twins, banned names."""

from __future__ import annotations

import ast
import re
import subprocess
from pathlib import Path

import pytest

_TOP = Path(__file__).parent.parent
_FILE_LINES_MAX = 700
_BODY_LINES_MAX = 70
_BANNED = re.compile(r"\b(?:class|def) \w*(?:Manager|Helper|Impl|Utils?)\b|\butils\b")
_PLACES = re.compile(r"/(?:work|root|home)/\w|pythonhosted|registry\.np|pypi\.or")


def _tracked(*patterns: str) -> list[Path]:
    listed = subprocess.run(
        ["git", "ls-files", "-co", "--exclude-standard", *patterns],
        cwd=_TOP,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode:
        pytest.skip("not in a git checkout")
    return [path for line in listed.stdout.split("\n") if line and (path := _TOP / line).is_file()]


def _sources() -> list[Path]:
    return [path for path in _tracked("*.py") if path.stat().st_size]


def _body_lines(function: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    first = function.body[0]
    if ast.get_docstring(function) is not None and len(function.body) > 1:
        first = function.body[1]
    return (function.end_lineno or 0) - first.lineno + 1


def test_files_and_functions_fit() -> None:
    long: list[str] = []
    for path in _sources():
        text = path.read_text(encoding="utf-8")
        if text.count("\n") > _FILE_LINES_MAX:
            long.append(f"{path}: {text.count(chr(10))} lines")
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                lines = _body_lines(node)
                if lines > _BODY_LINES_MAX:
                    long.append(f"{path}:{node.lineno} {node.name}: {lines} lines")
    assert not long, "\n".join(long)


def test_every_module_says_what_it_is() -> None:
    silent = [
        str(path)
        for path in _sources()
        if ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) is None
    ]
    assert not silent, "\n".join(silent)


def test_no_name_says_nothing() -> None:
    vague = [str(path) for path in _sources() if _BANNED.search(path.read_text(encoding="utf-8"))]
    assert vague in ([], [str(Path(__file__))])


def test_every_module_has_its_tests() -> None:
    alone: list[str] = []
    for path in (_TOP / "coterie").rglob("*.py"):
        inside = path.relative_to(_TOP / "coterie")
        if inside.name in ("__init__.py", "__main__.py") or str(inside) in _TESTED_ELSEWHERE:
            continue
        if not (_TOP / "tests" / inside.parent / f"test_{inside.name}").exists():
            alone.append(str(inside))
    assert not alone, "\n".join(alone)


_TESTED_ELSEWHERE = {
    "core/effects.py": "a page of lists, used by every test of the machines",
    "storage/errors.py": "every test of storage meets them",
}
"""May only shrink."""


def test_no_place_of_a_machine_is_named() -> None:
    suffixes = {".py", ".md", ".toml", ".txt", ".in", ".cfg", ".sh", ".c", ".ini", ""}
    named = [
        f"{path}:{number}"
        for path in _tracked()
        if path.suffix in suffixes and path != Path(__file__)
        for number, line in enumerate(path.read_text("utf-8", "replace").split("\n"), 1)
        if _PLACES.search(line)
    ]
    assert not named, "\n".join(named)
