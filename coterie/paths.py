"""Znode path rules: what a valid path is, its parent, its sequence suffix.

The server keeps paths as the UTF-8 bytes that came over the wire. The characters that ZooKeeper
refuses are those of its `PathUtils`: U+0000-001F, U+007F-009F, U+D800-F8FF, U+FFF0-FFFF and
everything beyond the basic plane. A path may be as long as a packet, so an ordinary one is not
gone over character by character: a regular expression for all the rules holds up the loop for
hundreds of milliseconds over a MiB.
"""

from __future__ import annotations

import re
from typing import Final

ROOT: Final = b"/"
ZOOKEEPER: Final = b"/zookeeper"
QUOTA: Final = b"/zookeeper/quota"
CONFIG: Final = b"/zookeeper/config"

_PLAIN: Final = bytes(range(0x20, 0x7F))
_REFUSED: Final = re.compile(r"[\0-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\U0010ffff]").search


def valid(path: bytes) -> bool:
    """Whether `path` may name a znode: absolute, no empty, `.` or `..` part, no bad character."""
    if path[:1] != ROOT:
        return False
    # Not `in`, which tries each of these as a number first: that takes longer than the search.
    if path[-1:] == ROOT or path.find(b"//") >= 0:
        return path == ROOT
    if path.find(b"/.") >= 0 and (
        b"/./" in path or b"/../" in path or path.endswith((b"/.", b"/.."))
    ):
        return False
    return not path.translate(None, _PLAIN) or _is_text(path)


def _is_text(path: bytes) -> bool:
    try:
        return _REFUSED(path.decode()) is None
    except UnicodeDecodeError:
        return False


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
