"""Names of Kerberos become those of users by Apache's rules; Apache's own code says the same of
them in tests/kerberos."""

from __future__ import annotations

import pytest

from coterie.principals import Principal, PrincipalError, identity, principal, rules

_OWN = "EXAMPLE.ORG"


def _short(name: str, text: str) -> str:
    return identity(name, rules(text), _OWN, without_host=True, without_realm=True)


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("bob@A", ("bob", None, "A")),
        ("zookeeper/host@A", ("zookeeper", "host", "A")),
        ("bob", ("bob", None, None)),
        ("a/b", ("a/b", None, None)),
        ("@", ("", None, "")),
    ],
)
def test_the_parts_of_a_name(name: str, parts: tuple[str, str | None, str | None]) -> None:
    assert principal(name) == Principal(*parts)
    assert str(principal(name)) == name


@pytest.mark.parametrize("name", ["a/b/c@A", "a@b@A", "a\\@b@A", "a@A/b"])
def test_names_of_other_shapes_are_none(name: str) -> None:
    with pytest.raises(PrincipalError):
        identity(name, rules("DEFAULT"), _OWN)


def test_host_and_realm_stay_unless_they_are_removed() -> None:
    known = rules("DEFAULT")
    name = "zookeeper/host@EXAMPLE.ORG"
    assert identity(name, known, _OWN) == name
    assert identity(name, known, _OWN, without_host=True) == "zookeeper@EXAMPLE.ORG"
    assert identity(name, known, _OWN, without_realm=True) == "zookeeper/host"
    assert identity(name, known, _OWN, without_host=True, without_realm=True) == "zookeeper"
    assert identity("bob", known, _OWN, without_realm=True) == "bob"


@pytest.mark.parametrize(
    ("name", "text", "short"),
    [
        ("bob@EXAMPLE.ORG", "DEFAULT", "bob"),
        ("bob@A", "RULE:[1:$1@$0](.*@A)s/@.*//", "bob"),
        ("bob@A", "RULE:[1:$0.$1]", "A.bob"),
        ("bob/admin@A", "RULE:[1:$1] RULE:[2:$2-$1](admin-.*)s/-/_/", "admin_bob"),
        ("bob@EXAMPLE.ORG", "RULE:[1:$1](ann)s/.*/x/ DEFAULT", "bob"),
        ("banana@A", "RULE:[1:$1]s/an/o/", "boana"),
        ("banana@A", "RULE:[1:$1]s/an/o/g", "booa"),
        ("bob@A", "RULE:[1:$1]s/(b)(o)/$2$1/", "obb"),
        ("bob@A", "RULE:[1:$1]s/(b)/$12/", "b2ob"),
        ("bob@A", r"RULE:[1:$1]s/b/\$1/", "$1ob"),
        ("bob@A", "RULE:[1:x]s/y/z/\n\tRULE:[1:$1]", "x"),
    ],
)
def test_the_first_rule_that_applies_makes_the_short_name(
    name: str, text: str, short: str
) -> None:
    assert _short(name, text) == short


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("bob@A", "DEFAULT"),
        ("bob@A", "RULE:[2:$1]"),
        ("bob@A", "RULE:[1:$1](bo)"),
        ("bob@EXAMPLE.ORG", "RULE:[1:$1@$0] DEFAULT"),
    ],
)
def test_who_has_no_short_name_keeps_the_whole(name: str, text: str) -> None:
    # Not what the client says it is called, which Apache's server takes then.
    assert _short(name, text) == name


def test_who_would_be_called_nothing_is_refused() -> None:
    with pytest.raises(PrincipalError, match="nothing is left"):
        _short("bob@A", "RULE:[1:$1]s/.*//")


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no rule"),
        ("default", "'default' is no rule"),
        ("DEFAULT RULE:[1:$1", "is no rule"),
        ("RULE:[:$1]", "for how many parts"),
        ("RULE:[1:$2]", r"puts together \$2"),
        ("RULE:[1:$]", r"puts together \$"),
        ("RULE:[1:$1](*)", "cannot be read"),
        (r"RULE:[1:$1](\p{Lu})", "cannot be read"),
        ("RULE:[1:$1]([a-z&&[^b]])", "which only Java reads"),
        ("RULE:[1:$1]s/b/$1/", "names no group"),
        ("RULE:[1:$1]s/b/$x/", "names no group"),
    ],
)
def test_rules_that_cannot_be_kept_are_refused(text: str, why: str) -> None:
    with pytest.raises(PrincipalError, match=why):
        rules(text)
