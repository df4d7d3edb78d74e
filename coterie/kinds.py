"""How the values of settings are written in zoo.cfg: numbers, flags, names, and a few others.

Rules: a `Kind` reads what it allows and shows it as it would be read again. Where Apache takes a
value that it cannot read for the default, `read` refuses it.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final

EVERY_WORD: Final = "*"
BACKLOG_DEFAULT: Final = 4096
"""What Linux allows if it is not told otherwise. Thousands may come at one moment, and whom the
queue has no room for asks again after 1, 3 and 7 seconds."""

_INT_MAX: Final = 2**31 - 1


@dataclass(frozen=True, slots=True)
class Kind:
    """How a value is written in the file: `read` raises `ValueError` for what is not `allowed`."""

    allowed: str
    read: Callable[[str], object]
    show: Callable[[Any], str] = str


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of zoo.cfg. A number below `raised_to` counts as that and gives a notice.

    One that is `of_ensemble` gives a notice where the server runs alone.
    """

    key: str
    kind: Kind
    meaning: str
    raised_to: int | None = None
    of_ensemble: bool = False


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueError(text)
    return int(text)


def number(low: int, high: int = _INT_MAX, unit: str = "", scale: int = 1) -> Kind:
    """A whole number of `unit`, kept multiplied by `scale`."""

    def read(text: str) -> int:
        number = _whole(text)
        if not low <= number <= high:
            raise ValueError(text)
        return number * scale

    of_unit = f" of {unit}" if unit else ""
    return Kind(
        f"a whole number{of_unit} from {low} to {high}", read, lambda value: str(value // scale)
    )


def flag(true: str, false: str) -> Kind:
    words = {true: True, false: False}

    def read(text: str) -> bool:
        if text.lower() not in words:
            raise ValueError(text)
        return words[text.lower()]

    return Kind(f"{true} or {false}", read, lambda value: true if value else false)


def _read_text(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _read_url_path(text: str) -> str:
    """A path of plain names, without a slash at its end."""
    if not re.fullmatch(r"(/[A-Za-z0-9._~-]+)+", text):
        raise ValueError(text)
    return text


def _read_host_name(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]+(\.[A-Za-z0-9_-]+)*", text):
        raise ValueError(text)
    return text.lower()


def _read_hours(text: str) -> int:
    """Milliseconds of a time that is in hours if it bears no unit; not positive means never."""
    match = re.fullmatch(r"([+-]?[0-9]{1,10})(ms|s|m|h|d)?", text.lower())
    if not match:
        raise ValueError(text)
    unit_ms = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
    return max(0, int(match[1])) * unit_ms[match[2] or "h"]


def _read_words(text: str) -> frozenset[str]:
    """The words of a comma list. `srvr` is always one: Apache's zkServer.sh asks it."""
    words = {word.strip() for word in text.split(",")} - {""}
    if not all(word == EVERY_WORD or re.fullmatch("[a-z]{4}", word) for word in words):
        raise ValueError(text)
    return frozenset(words | {"srvr"})


def _read_digest(text: str) -> str:
    """hashlib's name of a digest that Java knows as SHA1, SHA-256, SHA-512/256 or SHA3-256."""
    name = text.lower()
    name = name.replace("-", "_") if name.startswith("sha3") else name.replace("-", "")
    name = "sha1" if name == "sha" else name.replace("/", "_")
    if name.startswith("shake") or name not in hashlib.algorithms_available:
        raise ValueError(text)
    return name


def _read_factor(text: str) -> float:
    if not re.fullmatch(r"[+-]?[0-9]{0,9}\.?[0-9]{1,9}", text) or float(text) > 1:
        raise ValueError(text)
    return float(text)


def _read_super(text: str) -> str:
    if not re.fullmatch(r"[^:]+:[A-Za-z0-9+/]+={0,2}", text):
        raise ValueError(text)
    return text


def _choice(*allowed: str) -> Callable[[str], str]:
    """One of these, however its letters are."""
    by_lower = {one.lower(): one for one in allowed}

    def read(text: str) -> str:
        if text.lower() not in by_lower:
            raise ValueError(text)
        return by_lower[text.lower()]

    return read


def _list_of(read: Callable[[str], str]) -> Callable[[str], tuple[str, ...]]:
    def read_all(text: str) -> tuple[str, ...]:
        return tuple(read(part.strip()) for part in text.split(","))

    return read_all


MS: Final = number(1, unit="ms")
COUNT: Final = number(0)
POSITIVE: Final = number(1)
PORT: Final = number(0, 65535)
LIMIT_KIB: Final = Kind(
    "a whole number of KiB, 0 or less for no limit",
    lambda text: max(0, _whole(text)) * 1024,
    lambda value: str(value // 1024),
)
BACKLOG: Final = Kind(
    "a whole number, -1 for the default",
    lambda text: BACKLOG_DEFAULT if _whole(text) < 0 else min(_whole(text), _INT_MAX),
)
TEXT: Final = Kind("a name that is not empty", _read_text)
URL_PATH: Final = Kind("a path such as /commands", _read_url_path)
TRUE_FALSE: Final = flag("true", "false")
YES_NO: Final = flag("yes", "no")
HOURS: Final = Kind(
    "a whole number, in hours or with ms, s, m, h or d behind it",
    _read_hours,
    lambda value: f"{value}ms" if value else "0",
)
WORDS: Final = Kind(
    "four-letter words with commas between them, or *",
    _read_words,
    lambda value: ",".join(sorted(value)),
)
DIGEST: Final = Kind("a digest such as SHA1, SHA-256 or SHA3-256", _read_digest, str.upper)
SUPER: Final = Kind("a user, a colon and the digest in base64", _read_super)
FACTOR: Final = Kind("a number up to 1, negative for never", _read_factor)
STORE: Final = Kind(
    "PEM or PKCS12 (keytool -importkeystore -deststoretype PKCS12 makes that of JKS)",
    _choice("PEM", "PKCS12"),
)
CLIENT_AUTH: Final = Kind("need, want or none", _choice("need", "want", "none"))
TLS_VERSION: Final = Kind("TLS, TLSv1.2 or TLSv1.3", _choice("TLS", "TLSv1.2", "TLSv1.3"))
TLS_VERSIONS: Final = Kind(
    "TLSv1.2 and TLSv1.3, with a comma between them", _list_of(_choice("TLSv1.2", "TLSv1.3"))
)
SCHEMES: Final = Kind(
    "digest, ip, sasl or x509, with commas between them",
    _list_of(_choice("digest", "ip", "sasl", "x509")),
    ",".join,
)
HOST_NAMES: Final = Kind(
    "names of hosts without ports, with commas between them",
    _list_of(_read_host_name),
    ",".join,
)
SUITES: Final = Kind("names with commas between them", _list_of(_read_text))
