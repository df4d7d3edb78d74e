"""Znode path rules: what a valid path is, its parent, its sequence suffix.

The server keeps paths as the UTF-8 bytes that came over the wire, so the rules are one regular
expression over bytes. The characters that ZooKeeper refuses are those of its `PathUtils`:
U+0000-001F, U+007F-009F, U+D800-F8FF, U+FFF0-FFFF and everything beyond the basic plane.
"""

from __future__ import annotations

import re
from typing import Final

ROOT: Final = b"/"
ZOOKEEPER: Final = b"/zookeeper"
QUOTA: Final = b"/zookeeper/quota"
CONFIG: Final = b"/zookeeper/config"

_CHARACTER: Final = (
    rb"(?:[\x20-\x2e\x30-\x7e]"
    rb"|\xc2[\xa0-\xbf]|[\xc3-\xdf][\x80-\xbf]"
    rb"|\xe0[\xa0-\xbf][\x80-\xbf]|[\xe1-\xec][\x80-\xbf]{2}|\xed[\x80-\x9f][\x80-\xbf]"
    rb"|\xef[\xa4-\xbe][\x80-\xbf]|\xef\xbf[\x80-\xaf])"
)
_VALID: Final = re.compile(
    rb"(?:/|(?:/(?!\.{1,2}(?:/|\Z))" + _CHARACTER + rb"+)+)\Z", re.DOTALL
).match


def valid(path: bytes) -> bool:
    """Whether `path` may name a znode: absolute, no empty, `.` or `..` part, no bad character."""
    return _VALID(path) is not None


def parent(path: bytes) -> bytes:
    """The parent of a valid path; the root has none and must not be asked for.

    >>> parent(b"/a/b"), parent(b"/a")
    (b'/a', b'/')
    """
    assert path != ROOT
    cut = path.rindex(b"/")
    return path[:cut] if cut else ROOT


def sequence(number: int) -> bytes:
    """The suffix of a sequential znode: ten digits of the parent's signed 32-bit create count.

    >>> sequence(7), sequence(2**31)
    (b'0000000007', b'-2147483648')
    """
    return b"%010d" % ((number + 2**31) % 2**32 - 2**31)


def text(path: bytes) -> str:
    """A path for people: messages, four-letter words. Never fails."""
    return path.decode("utf-8", "replace")
