"""Znodes as JSON: stats, ACLs, changes of a transaction.

Rules: numbers of 64 bits (zxids, sessions) are hexadecimal text, for JSON's readers round large
ones; permissions are the letters of ZooKeeper's shell; data that is no text is `data_base64`.
What cannot be read raises a `Problem` that says what is wrong.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any, Final

from coterie.console.problems import Problem
from coterie.values import ACL, CREATOR_ALL_ACL, OPEN_ACL, READ_ACL, ACLs, Id, Perms, Stat

_LETTERS: Final = {
    "c": Perms.CREATE,
    "d": Perms.DELETE,
    "r": Perms.READ,
    "w": Perms.WRITE,
    "a": Perms.ADMIN,
}
_NAMED: Final[dict[str, ACLs]] = {
    "open": OPEN_ACL,
    "read": READ_ACL,
    "creator": CREATOR_ALL_ACL,
}
_LONG: Final = frozenset({"czxid", "mzxid", "pzxid", "ephemeral_owner"})


def stat_json(stat: Stat) -> dict[str, Any]:
    return {
        name: f"{value % 2**64:#x}" if name in _LONG else value
        for name, value in stat._asdict().items()
    }


def acl_json(acl: ACLs) -> list[dict[str, str]]:
    return [
        {
            "scheme": each.id.scheme,
            "id": each.id.id,
            "perms": "".join(letter for letter, bit in _LETTERS.items() if each.perms & bit),
        }
        for each in acl
    ]


def data_json(data: bytes) -> dict[str, str]:
    """Data as text if it is some, else in base64."""
    try:
        return {"data": data.decode()}
    except UnicodeDecodeError:
        return {"data_base64": base64.b64encode(data).decode()}


def read_json(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        raise Problem(400, "the body is no JSON") from None


def read_data(given: dict[str, Any]) -> bytes:
    """What a znode is to hold."""
    text, encoded = given.get("data"), given.get("data_base64")
    if text is not None and encoded is not None:
        raise Problem(400, "give either data or data_base64")
    try:
        if isinstance(encoded, str):
            return base64.b64decode(encoded, validate=True)
        if text is None and encoded is None:
            return b""
        if isinstance(text, str):
            return text.encode()
    except (binascii.Error, UnicodeEncodeError):
        pass
    raise Problem(400, "data is text, and data_base64 is base64")


def read_acl(given: object) -> ACLs:
    """An ACL: `open`, `read` or `creator`, or a list of what `acl_json` gives."""
    if given is None:
        return OPEN_ACL
    if isinstance(given, str) and given in _NAMED:
        return _NAMED[given]
    if isinstance(given, list) and given:
        return tuple(_read_entry(each) for each in given)
    raise Problem(400, "an ACL is open, read, creator, or a list of scheme, id and perms")


def _read_entry(given: object) -> ACL:
    if not isinstance(given, dict):
        raise Problem(400, "an entry of an ACL has scheme, id and perms")
    scheme, id, letters = given.get("scheme"), given.get("id", ""), given.get("perms")
    if not (isinstance(scheme, str) and isinstance(id, str) and isinstance(letters, str)):
        raise Problem(400, "scheme, id and perms of an ACL are text")
    if not letters or not set(letters) <= set(_LETTERS):
        raise Problem(400, "perms are letters of cdrwa")
    return ACL(sum(_LETTERS[letter] for letter in set(letters)), Id(scheme, id))


def read_version(text: str | None) -> int:
    """The version that `If-Match` names; -1 for any."""
    if text is None or text.strip() == "*":
        return -1
    bare = text.strip().removeprefix("W/").strip('"')
    if not (bare.isascii() and bare.isdecimal()) or int(bare) >= 2**31:
        raise Problem(400, 'If-Match is a version, as "3", or *')
    return int(bare)
