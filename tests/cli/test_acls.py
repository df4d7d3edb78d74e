"""ACLs as text: the form is zkCli's."""

from __future__ import annotations

import pytest

from coterie.cli import acls
from coterie.values import ACL, OPEN_ACL, Id, Perms


def test_zkclis_open_acl() -> None:
    assert acls.parse("world:anyone:cdrwa") == OPEN_ACL
    assert acls.show(OPEN_ACL[0]) == "world:anyone:cdrwa"


def test_several_entries_with_colons_in_their_ids() -> None:
    assert acls.parse("ip:::1:r, digest:me:aGFzaA==:wa,auth::all") == (
        ACL(Perms.READ, Id("ip", "::1")),
        ACL(Perms.WRITE | Perms.ADMIN, Id("digest", "me:aGFzaA==")),
        ACL(Perms.ALL, Id("auth", "")),
    )


def test_subjects_of_certificates_have_commas() -> None:
    text = "x509:CN=ann,OU=Ops,O=Example:r,auth::w,x509:CN=bob, O=a:b:cdrwa"
    entries = acls.parse(text)
    assert entries == (
        ACL(Perms.READ, Id("x509", "CN=ann,OU=Ops,O=Example")),
        ACL(Perms.WRITE, Id("auth", "")),
        ACL(Perms.ALL, Id("x509", "CN=bob, O=a:b")),
    )
    assert acls.parse(",".join(map(acls.show, entries))) == entries


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("world", "scheme:id:perms"),
        ("world:anyone", "scheme:id:perms"),
        (":anyone:r", "scheme:id:perms"),
        ("world:anyone:rx", "'x' is no permission"),
        ("world:anyone:", "permits nothing"),
        ("world:anyone:r,", "''"),
        ("x509:CN=ann,O=Example", "scheme:id:perms"),
    ],
)
def test_what_is_no_acl(text: str, complaint: str) -> None:
    with pytest.raises(acls.ACLTextError, match=complaint):
        acls.parse(text)


@pytest.mark.parametrize("perms", range(1, 32))
def test_what_is_shown_is_parsed_to_the_same(perms: int) -> None:
    entry = ACL(perms, Id("ip", "10.0.0.0/8"))
    assert acls.parse(acls.show(entry)) == (entry,)
