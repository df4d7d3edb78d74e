"""The syntax of a Java properties file, which is that of zoo.cfg: text in, entries out.

Rules: what Java's `Properties` reads is read the same, continued lines and escapes included. Key
and value are stripped, as Apache does after reading: a blank behind a number is no error.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Final


class PropertiesError(ValueError):
    """An entry that is none, and the line on which it starts."""

    def __init__(self, reason: str, line: int) -> None:
        super().__init__(reason)
        self.reason = reason
        self.line = line


_ENTRY: Final = re.compile(
    r"(?P<key>(?:[^\\=: \t\f]|\\.)*)[ \t\f]*[=:]?[ \t\f]*(?P<value>.*)", re.DOTALL
)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_ESCAPED: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def entries(text: str) -> Iterator[tuple[int, str, str]]:
    """Number of the first line, key and value of every entry. Raises `PropertiesError`."""
    joined = ""
    start = 0
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        part = line.lstrip(" \t\f")
        if not joined:
            if not part or part[0] in "#!":
                continue
            start = number
        backslashes = len(part) - len(part.rstrip("\\"))
        joined += part
        if backslashes % 2:
            joined = joined[:-1]
            continue
        yield start, *_split(joined, start)
        joined = ""
    if joined:
        yield start, *_split(joined, start)


def _split(entry: str, line: int) -> tuple[str, str]:
    match = _ENTRY.fullmatch(entry)
    assert match, "every text is a key, blank or not, and a value"
    if re.search(r"(?<!\\)(?:\\\\)*\\u(?![0-9A-Fa-f]{4})", entry):
        raise PropertiesError(r"\u is not followed by four hexadecimal digits", line)
    key, value = (_ESCAPE.sub(_unescape, part).strip() for part in match.group("key", "value"))
    if not key:
        raise PropertiesError(f"{entry!r} has no key", line)
    return key, value


def _unescape(match: re.Match[str]) -> str:
    code, letter = match.groups()
    return chr(int(code, 16)) if code else _ESCAPED.get(letter, letter)
