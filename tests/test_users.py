"""Files of users: a JAAS file as Java reads it, and lines."""

from __future__ import annotations

import pytest

from coterie.users import UsersError, login_of_jaas, of_jaas, of_lines, sections

_MODULE = "org.apache.zookeeper.server.auth.DigestLoginModule"
_JAAS = r"""
// what others use
QuorumServer { MODULE required user_peer="p"; };
QuorumLearner { MODULE required username="peer" password="p"; };
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


def test_whom_a_section_proves_to_be() -> None:
    assert login_of_jaas(_JAAS, "QuorumLearner") == ("peer", "p")


@pytest.mark.parametrize(
    ("section", "why"),
    [
        ("Learner", "there is no section Learner"),
        ("Server", "the section Server has no username"),
        ("Client", "Krb5LoginModule is not served"),
    ],
)
def test_a_section_that_proves_nobody(section: str, why: str) -> None:
    with pytest.raises(UsersError, match=why):
        login_of_jaas(_JAAS, section)


def test_every_section_is_there_with_its_options() -> None:
    ((name, options),) = sections(_JAAS)["Client"]
    assert name.endswith("Krb5LoginModule")
    assert options == {"useKeyTab": "true"}


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
