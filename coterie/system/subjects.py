"""Whom a certificate is about, out of its DER, in the words that ACLs of the scheme x509 use.

Rules: a subject is shown as Java's `X500Principal.getName()` shows it, for that is what Apache's
server compares with ACLs: the most particular part first, nine attributes by name, all others by
number with their value as hexadecimal DER. Nothing here checks a certificate: TLS has done it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

_INTEGER: Final = 0x02
_OBJECT_IDENTIFIER: Final = 0x06
_VERSION: Final = 0xA0
_STRINGS: Final = frozenset({0x0C, 0x13, 0x14, 0x16, 0x1B, 0x1E})
"""UTF8, Printable, T61, IA5, General and BMP: what Java shows as text."""
_KEYWORDS: Final = {
    "2.5.4.3": "CN",
    "2.5.4.6": "C",
    "2.5.4.7": "L",
    "2.5.4.8": "ST",
    "2.5.4.9": "STREET",
    "2.5.4.10": "O",
    "2.5.4.11": "OU",
    "0.9.2342.19200300.100.1.1": "UID",
    "0.9.2342.19200300.100.1.25": "DC",
}
_NUMBER_BYTES_MAX: Final = 128
_ESCAPED: Final = ',=+<>#;"\\'


class SubjectError(ValueError):
    """What should be a certificate is none."""


def subject(certificate: bytes) -> str:
    """The subject of a certificate in DER. Raises `SubjectError`."""
    try:
        _, whole, _ = _element(certificate, 0)
        fields = [*_elements(_element(whole, 0)[1])]
        # version, which may be missing, serial number, signature, issuer, validity, subject.
        first = 1 if fields[0][0] == _VERSION else 0
        if fields[first][0] != _INTEGER:
            raise SubjectError("it has no serial number")
        return _name(fields[first + 4][1])
    except IndexError:
        raise SubjectError("it is cut off") from None


def _name(name: bytes) -> str:
    parts = [
        "+".join(_attribute(pair) for _, pair, _ in _elements(one))
        for _, one, _ in _elements(name)
    ]
    return ",".join(reversed(parts))


def _attribute(pair: bytes) -> str:
    tag, number, end = _element(pair, 0)
    if tag != _OBJECT_IDENTIFIER:
        raise SubjectError("an attribute has no type")
    kind, value, after = _element(pair, end)
    keyword = _KEYWORDS.get(_dotted(number))
    if keyword is None or kind not in _STRINGS:
        return f"{keyword or _dotted(number)}=#{pair[end:after].hex()}"
    return f"{keyword}={_escaped(value.decode('utf-8', 'replace'))}"


def _escaped(text: str) -> str:
    shown = "".join(
        "\\" + char if char in _ESCAPED else "\\00" if char == "\0" else char for char in text
    )
    inner = shown.strip(" \r")
    if not inner:
        return "".join("\\" + char for char in shown)
    lead = len(shown) - len(shown.lstrip(" \r"))
    trail = lead + len(inner)
    return "".join(
        char if lead <= place < trail else "\\" + char for place, char in enumerate(shown)
    )


def _dotted(number: bytes) -> str:
    if len(number) > _NUMBER_BYTES_MAX:
        raise SubjectError("the type of an attribute is too long")
    arcs: list[int] = []
    arc = 0
    for byte in number:
        arc = arc << 7 | byte & 0x7F
        if byte < 0x80:
            arcs.append(arc)
            arc = 0
    first = min(arcs[0] // 40, 2)
    return ".".join(map(str, (first, arcs[0] - 40 * first, *arcs[1:])))


def _elements(data: bytes) -> Iterator[tuple[int, bytes, int]]:
    place = 0
    while place < len(data):
        tag, content, place = _element(data, place)
        yield tag, content, place


def _element(data: bytes, place: int) -> tuple[int, bytes, int]:
    """Tag and content of the element at a place, and where the next one begins."""
    tag, length = data[place], data[place + 1]
    place += 2
    if length & 0x80:
        count = length & 0x7F
        length = int.from_bytes(data[place : place + count], "big")
        place += count
    if place + length > len(data):
        raise SubjectError("it is cut off")
    return tag, data[place : place + length], place + length
