"""May this identity do that to this znode: `world`, `auth`, `digest`, `ip`, `sasl` and `x509`.

An ACL entry permits when its bits and its identity match one of the connection's identities of
the same scheme. Whoever has an identity of the scheme `super` may do everything. An identity of
the scheme x509 is the subject of a certificate that TLS has checked; one of the scheme sasl is a
user who has proved a password, and there are such ids in ACLs only where there are users.
"""

from __future__ import annotations

import base64
import hashlib
import ipaddress
import re
from collections.abc import Sequence

from coterie.errors import AuthFailedError, InvalidACLError
from coterie.values import ACL, ANYONE, OPEN_ACL, ACLs, Id

SUPER = Id("super", "")

_PROVED = ("digest", "sasl", "x509")
"""Schemes that `auth` in an ACL stands for: ip proves nothing."""
_NAMES = (
    "CN|C|L|S|ST|O|OU|T|IP|STREET|DC|DNQUALIFIER|DNQ|SURNAME|GIVENNAME|INITIALS|GENERATION|"
    "EMAIL|EMAILADDRESS|UID|SERIALNUMBER"
)
_PRINCIPAL = re.compile(r"[^@]*|[^/@]*(/[^/@]*)?@[^/@]*")
"""What Kerberos takes for a name; users of DIGEST-MD5 have none with an @."""
_VALUE = r'(?:\\.|[^\\,;+"])*(?:"(?:\\.|[^"\\])*"\s*)?'
_SUBJECT = re.compile(
    rf"(?:\s*(?:{_NAMES}|(?:OID\.)?[0-9]+(?:\.[0-9]+)+)\s*={_VALUE}(?:[,;+](?=.)|\Z))*",
    re.IGNORECASE | re.DOTALL,
)
"""What Java takes for the name of a subject, by its attributes."""


class AccessControl:
    """The rules of one server.

    `super_digest` is `user:base64(hash)` as in `DigestAuthenticationProvider.superDigest`;
    who authenticates as that becomes super. `algorithm` is a name that Java or hashlib knows.
    Raises `ValueError` for an algorithm that there is not.
    """

    def __init__(
        self,
        super_digest: str | None = None,
        algorithm: str = "SHA1",
        digest_enabled: bool = True,
        skip: bool = False,
        super_subject: str | None = None,
        sasl: bool = False,
        super_user: str | None = None,
        any_user: str | None = None,
    ) -> None:
        self._super_digest = super_digest
        self._algorithm = algorithm.replace("-", "").lower()
        hashlib.new(self._algorithm)
        self._digest_enabled = digest_enabled
        self._skip = skip
        self._super_subject = super_subject
        self._sasl = sasl
        self._super_user = super_user
        self._any_user = any_user

    def allows(self, acl: ACLs, perms: int, ids: Sequence[Id]) -> bool:
        """Whether any of `ids` may do any of `perms` under `acl`."""
        if acl is OPEN_ACL or self._skip or not acl:
            return True
        if any(scheme == "super" for scheme, _ in ids):
            return True
        for granted, who in acl:
            if granted & perms and (who == ANYONE or any(_matches(have, who) for have in ids)):
                return True
            if granted & perms and who.scheme == "sasl" and self._is_for_user(who.id, ids):
                return True
        return False

    def fix(self, acl: ACLs, ids: Sequence[Id]) -> ACLs:
        """The ACL to store for the one that a client sent.

        Duplicates go, and `auth` becomes the identities that the connection has proved.
        Raises `InvalidACLError` when it is empty or has an identity that no scheme accepts.
        """
        if acl is OPEN_ACL:
            return acl
        fixed: list[ACL] = []
        for entry in dict.fromkeys(acl):
            scheme = entry.id.scheme
            if entry.id == ANYONE:
                fixed.append(entry)
            elif scheme == "auth":
                proved = [ACL(entry.perms, have) for have in ids if have.scheme in _PROVED]
                if not proved:
                    raise InvalidACLError
                fixed += proved
            elif self._valid(entry.id):
                fixed.append(entry)
            else:
                raise InvalidACLError
        if not fixed:
            raise InvalidACLError
        return acl if tuple(fixed) == acl else tuple(fixed)

    def _valid(self, who: Id) -> bool:
        if who.scheme == "digest" and self._digest_enabled:
            # As Java splits: empty parts at the end do not count, others do.
            return len(who.id.rstrip(":").split(":")) == 2
        if who.scheme == "ip":
            return _network(who.id) is not None
        if who.scheme == "sasl" and self._sasl:
            return _PRINCIPAL.fullmatch(who.id) is not None
        return who.scheme == "x509" and _SUBJECT.fullmatch(who.id) is not None

    def _is_for_user(self, name: str, ids: Sequence[Id]) -> bool:
        """Whether an id of the scheme sasl is for somebody of another name."""
        users = [have.id for have in ids if have.scheme == "sasl"]
        return "super" in users or (bool(users) and name == self._any_user)

    def authenticate(self, scheme: str, proof: bytes, ip: str) -> list[Id]:
        """The identities that `proof` gives a connection from `ip`.

        Raises `AuthFailedError` for a scheme that there is not, or a proof that it refuses.
        """
        if scheme == "digest" and self._digest_enabled:
            who = Id("digest", self.digest_id(proof))
            return [SUPER, who] if who.id == self._super_digest else [who]
        if scheme == "ip":
            return [Id("ip", ip)]
        raise AuthFailedError

    def user(self, name: str) -> tuple[Id, ...]:
        """The identities of a user who has proved a password by SASL."""
        who = Id("sasl", name)
        return (who, SUPER) if name == self._super_user else (who,)

    def certified(self, subject: str) -> tuple[Id, ...]:
        """The identities of who has shown a certificate with this subject."""
        who = Id("x509", subject)
        return (Id("super", subject), who) if subject == self._super_subject else (who,)

    def digest_id(self, proof: bytes) -> str:
        """`user:base64(hash of user:password)`, the identity that a digest proof stands for."""
        user = proof.partition(b":")[0].decode("utf-8", "replace")
        hashed = hashlib.new(self._algorithm, proof).digest()
        return f"{user}:{base64.b64encode(hashed).decode('ascii')}"


def masked(acl: ACLs) -> ACLs:
    """An ACL as shown to whom may not administer the znode: without the hashes."""
    return tuple(
        ACL(perms, Id(scheme, name.partition(":")[0] + ":x" if ":" in name else name))
        if scheme == "digest"
        else ACL(perms, Id(scheme, name))
        for perms, (scheme, name) in acl
    )


def _matches(have: Id, want: Id) -> bool:
    if have.scheme != want.scheme:
        return False
    if have.scheme == "ip":
        network = _network(want.id)
        try:
            return network is not None and ipaddress.ip_address(have.id) in network
        except ValueError:
            return False
    return have.scheme in _PROVED and have.id == want.id


def _network(text: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    _, slash, bits = text.partition("/")
    if slash and not bits.isdecimal():
        return None  # not a netmask, which Apache's server would never match
    try:
        return ipaddress.ip_network(text, strict=False)
    except ValueError:
        return None
