"""How values are written: what is read of them, what is refused, and how they are shown."""

from __future__ import annotations

import re

import pytest

from coterie import kinds
from coterie.kinds import Kind


@pytest.mark.parametrize(
    ("kind", "text", "value", "shown"),
    [
        (kinds.MS, "+7", 7, "7"),
        (kinds.number(0, 9, "KiB", 1024), "9", 9216, "9"),
        (kinds.TRUE_FALSE, "TRUE", True, "true"),
        (kinds.YES_NO, "No", False, "no"),
        (kinds.LIMIT_KIB, "-5", 0, "0"),
        (kinds.BACKLOG, "-1", 4096, "4096"),
        (kinds.BACKLOG, "9999999999", 2**31 - 1, "2147483647"),
        (kinds.HOURS, "3", 3 * 3_600_000, "10800000ms"),
        (kinds.HOURS, "0d", 0, "0"),
        (kinds.WORDS, "stat,,ruok", frozenset({"stat", "ruok", "srvr"}), "ruok,srvr,stat"),
        (kinds.DIGEST, "SHA-512/256", "sha512_256", "SHA512_256"),
        (kinds.SUPER, "su:aGk=", "su:aGk=", "su:aGk="),
        (kinds.FACTOR, ".5", 0.5, "0.5"),
        (kinds.FACTOR, "-1", -1.0, "-1.0"),
    ],
)
def test_what_is_read_and_how_it_is_shown(
    kind: Kind, text: str, value: object, shown: str
) -> None:
    assert kind.read(text) == value
    assert kind.show(value) == shown
    assert kind.read(kind.show(value)) == value


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        (kinds.MS, "0"),
        (kinds.MS, "1_000"),
        (kinds.PORT, "65536"),
        (kinds.TEXT, ""),
        (kinds.TRUE_FALSE, "yes"),
        (kinds.HOURS, "1w"),
        (kinds.WORDS, "STAT"),
        (kinds.DIGEST, "shake_128"),
        (kinds.SUPER, ":aGk="),
        (kinds.FACTOR, "1.01"),
        (kinds.FACTOR, "nan"),
        (kinds.FACTOR, "1_0"),
        (kinds.FACTOR, "."),
        (kinds.FACTOR, "9" * 400),
    ],
)
def test_what_is_refused(kind: Kind, text: str) -> None:
    with pytest.raises(ValueError, match=re.escape(text) or "^$"):
        kind.read(text)
