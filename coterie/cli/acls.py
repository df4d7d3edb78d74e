"""ACLs as people write them: `scheme:id:perms`, several with commas between.

The letters of the permissions and the form are zkCli's: `world:anyone:cdrwa`. The id may have
colons in it, and the subject of a certificate commas (which zkCli cannot read); `all` stands for
all five letters.
"""

from __future__ import annotations

import re
from typing import Final

from coterie.values import ACL, ACLs, Id, Perms

LETTERS: Final = {
    "c": Perms.CREATE,
    "d": Perms.DELETE,
    "r": Perms.READ,
    "w": Perms.WRITE,
    "a": Perms.ADMIN,
}


_NEXT: Final = re.compile(r"\s*[a-z0-9]+:")


class ACLTextError(ValueError):
    """It is no ACL; the message says which part."""


def parse(text: str) -> ACLs:
    """Raises `ACLTextError`.

    >>> parse("ip:::1:r")
    (ACL(perms=1, id=Id(scheme='ip', id='::1')),)
    """
    return tuple(_entry(part.strip()) for part in _parts(text))


def _parts(text: str) -> list[str]:
    """Cut at commas, but within the subject of a certificate: CN=ann,O=Example."""
    parts: list[str] = []
    for part in text.split(","):
        if parts and parts[-1].lstrip().startswith("x509:") and not _NEXT.match(part):
            parts[-1] += f",{part}"
        else:
            parts.append(part)
    return parts


def _entry(text: str) -> ACL:
    scheme, _, rest = text.partition(":")
    id, colon, letters = rest.rpartition(":")
    if not scheme or not colon:
        raise ACLTextError(f"{text!r} does not have the form scheme:id:perms")
    return ACL(_perms(text, letters), Id(scheme, id))


def _perms(text: str, letters: str) -> int:
    if letters == "all":
        return Perms.ALL
    perms = 0
    for letter in letters:
        if letter not in LETTERS:
            known = "".join(LETTERS)
            raise ACLTextError(f"{text!r}: {letter!r} is no permission; they are {known}, or all")
        perms |= LETTERS[letter]
    if not perms:
        raise ACLTextError(f"{text!r} permits nothing")
    return perms


def show(entry: ACL) -> str:
    """An entry as `parse` takes it."""
    return f"{entry.id.scheme}:{entry.id.id}:{show_perms(entry.perms)}"


def show_perms(perms: int) -> str:
    return "".join(letter for letter, bit in LETTERS.items() if perms & bit)
