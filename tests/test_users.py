"""Files of users: a JAAS file as Java reads it, and lines."""

from __future__ import annotations

import pytest

from coterie.users import UsersError, of_jaas, of_lines

_MODULE = "org.apache.zookeeper.server.auth.DigestLoginModule"
_JAAS = r"""
// what others use
QuorumServer { MODULE required user_peer="p"; };
Client { com.sun.security.auth.module.Krb5LoginModule required useKeyTab=true; };
/* users {
 */
Server {
    MODULE required
    user_super="adminsecret"   # the first
    user_bob="bob \"s\\ {};="
    debug=true
    user_zoë='é';
};
""".replace("MODULE", _MODULE)


def test_the_users_of_a_section_of_a_jaas_file() -> None:
    assert of_jaas(_JAAS, "Server") == {
        "super": "adminsecret",
        "bob": 'bob "s\\ {};=',
        "zoë": "'é'",
    }
    assert of_jaas(_JAAS, "QuorumServer") == {"peer": "p"}


def test_a_section_of_several_modules() -> None:
    text = f'S {{ {_MODULE} required user_a="1"; {_MODULE} sufficient user_b="2"; }};'
    assert of_jaas(text, "S") == {"a": "1", "b": "2"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "there is no section Server"),
        (_JAAS.replace("Server {", "Servers {"), "there is no section Server"),
        ("Server { com.sun.Krb5LoginModule required; };", "Krb5LoginModule is not served"),
        (f"Server {{ {_MODULE} required; }};", "there are no users"),
        (f'Server {{ {_MODULE} required user_a=""; }};', "a has no password"),
        (f'Server {{ {_MODULE} required user_a@B="s"; }};', "'a@B' is no name"),
        (f'Server {{ {_MODULE} required user_a="s"; }}', "';' is missing"),
        (f'Server {{ {_MODULE} required user_a "s"; }};', "'=' is missing behind user_a"),
        (f'Server {{ {_MODULE} required user_a="s" }};', "is missing"),
        (f'Server {{\n {_MODULE} required user_a="s; }};', "line 2 cannot be read"),
        ("Server", "'{' is missing"),
    ],
)
def test_a_jaas_file_that_cannot_be_taken(text: str, why: str) -> None:
    with pytest.raises(UsersError, match=why):
        of_jaas(text, "Server")


def test_users_in_lines() -> None:
    text = "# users\n\nann:secret\nbob:a:b #c\r\nzoë: é\n"
    assert of_lines(text) == {"ann": "secret", "bob": "a:b #c", "zoë": " é"}


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("ann:secret\nbob", "line 2 is not user:password"),
        ("ann:a\nann:b", "line 2: ann is there twice"),
        ("ann:", "ann has no password"),
        (":secret", "'' is no name"),
        ("# nobody", "there are no users"),
    ],
)
def test_lines_that_cannot_be_taken(text: str, why: str) -> None:
    with pytest.raises(UsersError, match=why) as caught:
        of_lines(text)
    assert "secret" not in str(caught.value)
