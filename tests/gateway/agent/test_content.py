"""What a file is to hold."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from coterie.gateway.agent.content import (
    ContentError,
    check_syntax,
    fill,
    fitting,
    lasting,
    members_in,
    members_of,
    servers_content,
    settings_content,
)
from coterie.gateway.agent.files import Version, digest
from coterie.gateway.agent.subscriptions import ServersFile, SettingsFile
from coterie.recipes.discovery import Instance

_SETTINGS = SettingsFile("/a", "a")
_SERVERS = ServersFile("web", "web")
_ONE = Instance("web", "2.1", "10.0.0.9", 80, "gpu", {"zone": "eu"}, "one")
_TWO = Instance("web", "2.0", "10.0.0.1", 8080, "", {"zone": "us"}, "two")
_SIX = Instance("web", "2.0", "::1", 80, id="six")


def test_settings_are_what_the_znode_holds_to_the_byte() -> None:
    assert settings_content(_SETTINGS, b"\xff\0\r\n", None) == b"\xff\0\r\n"


def test_no_file_is_emptied_unless_it_may_be() -> None:
    with pytest.raises(ContentError, match="the znode is empty"):
        settings_content(_SETTINGS, b"", None)
    assert settings_content(replace(_SETTINGS, may_be_empty=True), b"", None) == b""


def test_a_template_has_places_for_settings() -> None:
    data = json.dumps({"a": {"b-c": [1, 2], "d": "x y"}, "e": True, "f": None, "g": 2.5})
    template = "${a.b-c}|${a.d}|$e|$f|$g|$$h|$e.g"
    assert (
        settings_content(_SETTINGS, data.encode(), template) == b"[1, 2]|x y|true||2.5|$h|true.g"
    )


def test_data_that_is_no_json_has_one_place() -> None:
    assert settings_content(_SETTINGS, b"10 %\n", "a $data") == b"a 10 %\n"
    with pytest.raises(ContentError, match="no UTF-8"):
        settings_content(_SETTINGS, b"\xff", "a $data")


@pytest.mark.parametrize("template", ["$x", "${a.x}", "a $", "${a.__class__}", "${a!r}", "$1"])
def test_a_template_reaches_nothing_else(template: str) -> None:
    with pytest.raises(ContentError, match="the template"):
        fill(template, {"a": "1"})


def test_a_list_is_the_same_on_every_host() -> None:
    expected = b"10.0.0.1:8080\n10.0.0.9:80\n[::1]:80\n"
    assert servers_content(_SERVERS, [_ONE, _TWO, _SIX], None) == expected
    assert servers_content(_SERVERS, [_SIX, _ONE, _TWO], None) == expected


def test_json_says_all_that_lasts() -> None:
    found = json.loads(servers_content(replace(_SERVERS, format="json"), [_ONE], None))
    assert found == {
        "kind": "web",
        "servers": [
            {
                "id": "one",
                "host": "10.0.0.9",
                "port": 80,
                "version": "2.1",
                "flavor": "gpu",
                "metadata": {"zone": "eu"},
            }
        ],
    }
    assert lasting({"zone": "eu", "load": 3, "healthy": True, "state": "serving"}) == {
        "zone": "eu"
    }


def test_a_template_has_a_place_for_servers() -> None:
    one = replace(_SERVERS, each="  server $host:$port; # ${metadata.zone} $version $id")
    template = "upstream $kind { # $count\n$servers\n}\n"
    assert servers_content(one, [_ONE, _TWO], template).decode() == (
        "upstream web { # 2\n"
        "  server 10.0.0.1:8080; # us 2.0 two\n"
        "  server 10.0.0.9:80; # eu 2.1 one\n}\n"
    )
    with pytest.raises(ContentError, match=r"a place for 'metadata\.zone', and there"):
        servers_content(one, [_SIX], None)


def test_one_that_does_not_say_all_keeps_nobody_out() -> None:
    one = replace(_SERVERS, each="$address ${metadata.zone}")
    fit, problem = fitting(one, [_ONE, _SIX, _TWO])
    assert fit == [_ONE, _TWO]
    assert problem.startswith("six is left out: the template has a place for 'metadata.zone'")
    assert fitting(_SERVERS, [_ONE, _SIX]) == ([_ONE, _SIX], "")
    with pytest.raises(ContentError, match="six is left out"):
        fitting(one, [_SIX])


def test_what_has_to_be_json_or_toml() -> None:
    check_syntax("json", b'{"a": 1}')
    check_syntax("toml", b"a = 1")
    check_syntax("", b"\xff")
    for check, data in (
        ("json", b"{"),
        ("json", b"[" * 100_000),
        ("toml", b"a"),
        ("toml", b"\xff"),
    ):
        with pytest.raises(ContentError, match=f"it is no {check.upper()}"):
            check_syntax(check, data)


def test_what_a_file_held_is_what_was_noted_or_how_it_looks() -> None:
    data = servers_content(_SERVERS, [_ONE, _TWO], None)
    noted = Version(digest(data), 1, "web", 0, members=tuple(members_of([_ONE, _TWO])))
    assert members_in(_SERVERS, data, noted) == members_of([_TWO, _ONE])
    assert len(members_in(_SERVERS, data, None)) == 2
    as_json = replace(_SERVERS, format="json")
    assert members_in(as_json, servers_content(as_json, [_ONE, _TWO], None), None) == {
        "one",
        "two",
    }
    assert members_in(as_json, b"edited by hand", None) == frozenset()
    assert members_in(_SETTINGS, b"x", None) == {digest(b"x")}
