"""Who may do what: each scheme, what an ACL may say, and how proofs become identities."""

from __future__ import annotations

import pytest

from coterie.core.acl import SUPER, AccessControl, masked
from coterie.errors import AuthFailedError, InvalidACLError
from coterie.values import ACL, ANYONE, AUTH_IDS, OPEN_ACL, READ_ACL, ACLs, Id, Perms

IP = Id("ip", "10.1.2.3")
# What DigestAuthenticationProvider.generateDigest makes of super:test, from its documentation.
SUPER_DIGEST = "super:D/InIHSb7yEEbrWz8b9l71RjZJU="
BOB = Id("digest", "bob:xxx")


def grants(scheme: str, name: str, perms: int = Perms.ALL) -> ACLs:
    return (ACL(perms, Id(scheme, name)),)


def test_world_and_perms() -> None:
    access = AccessControl()
    assert access.allows(OPEN_ACL, Perms.ADMIN, [])
    assert access.allows(READ_ACL, Perms.READ, [])
    assert not access.allows(READ_ACL, Perms.WRITE, [IP])
    # Any of the permissions asked for is enough, as for getACL.
    assert access.allows(READ_ACL, Perms.READ | Perms.ADMIN, [])


def test_no_acl_permits_all_and_super_may_all() -> None:
    access = AccessControl()
    assert access.allows((), Perms.ADMIN, [])
    shut = grants("digest", "bob:xxx", Perms.READ)
    assert access.allows(shut, Perms.DELETE, [IP, SUPER])
    assert not access.allows(shut, Perms.DELETE, [BOB])
    assert AccessControl(skip=True).allows(shut, Perms.DELETE, [])


def test_digest_is_the_whole_identity() -> None:
    access = AccessControl()
    acl = grants("digest", "bob:xxx", Perms.WRITE)
    assert access.allows(acl, Perms.WRITE, [IP, BOB])
    assert not access.allows(acl, Perms.WRITE, [Id("digest", "bob:yyy"), Id("ip", "bob:xxx")])
    assert not access.allows(acl, Perms.READ, [BOB])


@pytest.mark.parametrize(
    ("subject", "valid"),
    [
        # As java.security.auth.x500.X500Principal takes them.
        ("CN=ann", True),
        ("CN=ann,OU=Ops,O=Example Org.,C=DE", True),
        ("cn = ann , ou=Ops", True),
        ("UID=u1+CN=ann;DC=example", True),
        (r"CN=a\,b\=c,O=x", True),
        ('CN="a, b",O=x', True),
        ("1.2.840.113549.1.9.1=#1605612e62,CN=ann", True),
        ("OID.2.5.4.3=ann", True),
        ("EMAILADDRESS=a@b.c", True),
        ("", True),
        ("ann", False),
        ("CN=ann,", False),
        ("CN=ann,Ops", False),
        ("NICKNAME=ann", False),
        ("=ann", False),
    ],
)
def test_x509_is_the_subject_of_a_certificate(subject: str, valid: bool) -> None:
    access = AccessControl()
    acl = grants("x509", subject, Perms.READ)
    if not valid:
        with pytest.raises(InvalidACLError):
            access.fix(acl, [])
        return
    assert access.fix(acl, []) == acl
    assert access.allows(acl, Perms.READ, access.certified(subject))
    assert not access.allows(acl, Perms.READ, [IP, *access.certified("CN=bob")])
    assert not access.allows(acl, Perms.WRITE, access.certified(subject))


def test_auth_stands_for_certificates_too_and_one_may_be_above_all() -> None:
    access = AccessControl(super_subject="CN=root,O=Example")
    ann = access.certified("CN=ann")
    assert access.fix(grants("auth", ""), (IP, *ann)) == grants("x509", "CN=ann")
    assert access.certified("CN=root") == (Id("x509", "CN=root"),)
    root = access.certified("CN=root,O=Example")
    assert root == (Id("super", "CN=root,O=Example"), Id("x509", "CN=root,O=Example"))
    assert access.allows(grants("x509", "CN=ann"), Perms.ADMIN, root)
    with pytest.raises(AuthFailedError):
        access.authenticate("x509", b"CN=root,O=Example", "10.1.2.3")


@pytest.mark.parametrize(
    ("network", "address", "matches"),
    [
        ("10.1.2.3", "10.1.2.3", True),
        ("10.1.2.4", "10.1.2.3", False),
        ("10.1.2.99/24", "10.1.2.3", True),
        ("10.1.3.0/24", "10.1.2.3", False),
        ("0.0.0.0/0", "10.1.2.3", True),
        ("::/0", "10.1.2.3", False),
        ("2001:db8::/32", "2001:db8::1", True),
        ("2001:db8::1", "2001:db8:0:0:0:0:0:1", True),
        ("10.1.2.3", "no address", False),
        ("no network", "10.1.2.3", False),
    ],
)
def test_ip_matches_addresses_and_networks(network: str, address: str, matches: bool) -> None:
    access = AccessControl()
    assert access.allows(grants("ip", network), Perms.READ, [Id("ip", address)]) is matches


def test_an_unknown_scheme_matches_nobody() -> None:
    acl = grants("kerberos", "bob")
    assert not AccessControl().allows(acl, Perms.READ, [Id("kerberos", "bob")])


def test_sasl_matches_by_name_and_for_super_and_by_the_name_that_is_for_all() -> None:
    access = AccessControl(sasl=True, any_user="everybody")
    bob = [Id("ip", "127.0.0.1"), Id("sasl", "bob")]
    assert access.allows(grants("sasl", "bob"), Perms.READ, bob)
    assert not access.allows(grants("sasl", "ann"), Perms.READ, bob)
    assert access.allows(grants("sasl", "ann"), Perms.READ, [Id("sasl", "super")])
    assert access.allows(grants("sasl", "everybody"), Perms.READ, bob)
    assert not access.allows(grants("sasl", "everybody"), Perms.READ, [Id("digest", "bob:x")])
    assert not access.allows(grants("sasl", "bob"), Perms.READ, [Id("digest", "bob")])


@pytest.mark.parametrize(
    ("name", "valid"),
    [
        ("bob", True),
        ("bob/host", True),
        ("bob@EXAMPLE", True),
        ("zk/host@EXAMPLE", True),
        ("a@b@c", False),
        ("a/b/c@d", False),
    ],
)
def test_an_id_of_sasl_is_a_name_of_kerberos_where_there_are_users(name: str, valid: bool) -> None:
    acl = grants("sasl", name)
    if valid:
        assert AccessControl(sasl=True).fix(acl, []) == acl
    else:
        with pytest.raises(InvalidACLError):
            AccessControl(sasl=True).fix(acl, [])
    with pytest.raises(InvalidACLError):
        AccessControl().fix(acl, [])


def test_a_user_is_super_by_name() -> None:
    access = AccessControl(sasl=True, super_user="root")
    assert access.user("bob") == (Id("sasl", "bob"),)
    assert access.user("root") == (Id("sasl", "root"), SUPER)
    with pytest.raises(AuthFailedError):
        access.authenticate("sasl", b"root", "127.0.0.1")


def test_auth_becomes_what_the_connection_has_proved() -> None:
    access = AccessControl()
    ann = Id("digest", "ann:yyy")
    mine = (ACL(Perms.READ, AUTH_IDS),)
    assert access.fix(mine, [IP, BOB, ann]) == (ACL(Perms.READ, BOB), ACL(Perms.READ, ann))
    # What it stands for is what comes with the scheme: the id beside `auth` is ignored.
    assert access.fix((ACL(Perms.READ, Id("auth", "ignored")),), [BOB]) == (ACL(Perms.READ, BOB),)
    for nothing_proved in ([], [IP], [SUPER]):
        with pytest.raises(InvalidACLError):
            access.fix(mine, nothing_proved)


def test_duplicates_go_and_the_open_acl_stays_the_one_object() -> None:
    access = AccessControl()
    assert access.fix(READ_ACL + READ_ACL, []) == READ_ACL
    assert access.fix(OPEN_ACL, []) is OPEN_ACL
    kept = (ACL(Perms.READ, ANYONE), ACL(Perms.WRITE, ANYONE))
    assert access.fix(kept, []) is kept


@pytest.mark.parametrize(
    ("scheme", "name", "valid"),
    [
        ("world", "anyone", True),
        ("world", "someone", False),
        ("digest", "bob:xxx", True),
        ("digest", ":xxx", True),
        ("digest", "bob:xxx:", True),
        ("digest", "bob", False),
        ("digest", "bob:", False),
        ("digest", "bob:x:y", False),
        ("ip", "10.0.0.0", True),
        ("ip", "10.0.0.0/8", True),
        ("ip", "::1/128", True),
        ("ip", "10.0.0.0/33", False),
        ("ip", "10.0.0.0/-1", False),
        ("ip", "10.0.0.0/255.0.0.0", False),
        ("ip", "10.0.0.0/", False),
        ("ip", "10.0.0", False),
        ("ip", "", False),
        ("super", "", False),
        ("sasl", "bob", False),
        ("", "", False),
    ],
)
def test_what_an_acl_may_name(scheme: str, name: str, valid: bool) -> None:
    acl = grants(scheme, name)
    if valid:
        assert AccessControl().fix(acl, []) == acl
    else:
        with pytest.raises(InvalidACLError):
            AccessControl().fix(READ_ACL + acl, [])


def test_an_empty_acl_is_none() -> None:
    with pytest.raises(InvalidACLError):
        AccessControl().fix((), [])


def test_a_digest_proof_is_user_and_hash() -> None:
    access = AccessControl(SUPER_DIGEST)
    assert access.digest_id(b"super:test") == SUPER_DIGEST
    assert access.authenticate("digest", b"super:test", "10.1.2.3") == [
        SUPER,
        Id("digest", SUPER_DIGEST),
    ]
    (other,) = access.authenticate("digest", b"super:wrong", "10.1.2.3")
    assert other.id.startswith("super:")
    # Only the first colon parts the user from the password, but the hash is of the whole.
    assert access.digest_id(b"u:a:b").partition(":")[0] == "u"
    assert access.digest_id(b"u:a:b") != access.digest_id(b"u:a")


def test_other_hashes_and_unknown_ones() -> None:
    hashed = AccessControl(algorithm="SHA-256").digest_id(b"a:b")
    assert len(hashed) == len("a:") + 44
    with pytest.raises(ValueError, match="unsupported hash"):
        AccessControl(algorithm="rot13")


def test_what_is_no_proof() -> None:
    access = AccessControl()
    assert access.authenticate("ip", b"whatever", "10.1.2.3") == [IP]
    for scheme in ("world", "auth", "super", "sasl", ""):
        with pytest.raises(AuthFailedError):
            access.authenticate(scheme, b"a:b", "10.1.2.3")


def test_digest_can_be_switched_off() -> None:
    access = AccessControl(digest_enabled=False)
    with pytest.raises(AuthFailedError):
        access.authenticate("digest", b"a:b", "10.1.2.3")
    with pytest.raises(InvalidACLError):
        access.fix(grants("digest", "bob:xxx"), [])


def test_hashes_are_masked_and_nothing_else() -> None:
    acl = (ACL(1, BOB), ACL(2, Id("ip", "2001:db8::1")), ACL(4, ANYONE), ACL(8, Id("digest", "x")))
    assert masked(acl) == (ACL(1, Id("digest", "bob:x")), *acl[1:])
