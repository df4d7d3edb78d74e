"""What a host subscribes to."""

from __future__ import annotations

import pytest

from coterie.gateway.agent.rails import Rails
from coterie.gateway.agent.subscriptions import (
    Command,
    ServersFile,
    SettingsFile,
    SubscriptionError,
    merge,
    parse_plan,
    parse_znode,
)

_ALL = """
[agent]
hosts = "a:2181,b:2181/root"
root = "/portal"
directory = "files"
follow = ["/portal/agents/all", "/portal/agents/web"]
recheck = "10m"
page = 8090
register = true
stale_after = "2m"
hold = 90
jitter = "1.5s"

[commands]
reload-web = ["systemctl", "reload", "nginx"]
test-web = { run = ["nginx", "-t", "-c"], timeout = "5s" }

[[settings]]
znode = "/portal/config/api"
file = "api.json"
check = "json"
reload = "reload-web"
jitter = "20s"

[[settings]]
znode = "/a"
file = "sub/a"
may_be_empty = true

[[servers]]
kind = "manager"
versions = ">=2,<3"
flavor = "gpu"
file = "upstream.conf"
template = "upstream.template"
each = "server $address;"
check = "test-web"
reload = "reload-web"
least = 8
share = 0.75
flaps = 3
stale_after = "1h"

[[servers]]
kind = "store"
file = "/run/store.json"
format = "json"
"""


def test_all_that_can_be_said() -> None:
    plan = parse_plan(_ALL, "/etc/gateway")
    assert plan.hosts == "a:2181,b:2181/root"
    assert (plan.root, plan.directory, plan.recheck_s) == ("/portal", "/etc/gateway/files", 600)
    assert plan.follow == ("/portal/agents/all", "/portal/agents/web")
    assert (plan.page, plan.register) == (8090, True)
    assert plan.commands == {
        "reload-web": Command(("systemctl", "reload", "nginx")),
        "test-web": Command(("nginx", "-t", "-c"), 5.0),
    }
    api, a, upstream, store = plan.subscriptions
    assert api == SettingsFile("/portal/config/api", "api.json", "json", "", "reload-web", 20, 120)
    assert isinstance(a, SettingsFile)
    assert (a.file, a.may_be_empty, a.jitter_s) == ("sub/a", True, 0)
    assert upstream == ServersFile(
        "manager",
        "upstream.conf",
        ">=2,<3",
        "gpu",
        each="server $address;",
        template="upstream.template",
        check="test-web",
        reload="reload-web",
        rails=Rails(least=8, share=0.75, hold_s=90, jitter_s=1.5, flaps=3),
        stale_after_s=3600,
    )
    assert isinstance(store, ServersFile)
    assert (store.file, store.format, store.flavor) == ("/run/store.json", "json", None)


def test_little_is_enough() -> None:
    assert parse_plan("").subscriptions == ()
    plan = parse_plan('[[servers]]\nkind = "a"\nfile = "a"\n[agent]\nfollow = "/x"')
    assert plan.subscriptions == (ServersFile("a", "a"),)
    assert (plan.directory, plan.follow) == (".", ("/x",))


_SETTINGS = '[[settings]]\nznode = "/a"\nfile = "a"\n'
_SERVERS = '[[servers]]\nkind = "a"\nfile = "a"\n'


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("[agent", "Expected"),
        ("[agent]\nhold_down = 3", r"^\[agent\]: there is no key 'hold_down'$"),
        ("[agents]", "^there is no key 'agents'$"),
        ("agent = 3", "agent: it is no table"),
        ("[settings]\nznode = 1", "settings: each is a table, written with two brackets"),
        ('[[settings]]\nfile = "a"', r"^\[\[settings\]\] 1: znode is missing$"),
        (_SETTINGS + _SETTINGS.replace('"a"', '"./a"'), "^a is written by two subscriptions$"),
        (_SETTINGS + _SETTINGS.replace('"a"', '"a.version"'), "a.version is written by two"),
        (_SETTINGS + 'jitter = "soon"', "'soon' is no time"),
        (_SETTINGS + "jitter = true", "True is no time"),
        (_SETTINGS + 'reload = "x"', r"^\[\[settings\]\] 1: reload: \[commands\] has no 'x'$"),
        (_SETTINGS + 'check = "yaml"', "has no 'yaml'"),
        (_SETTINGS + "stale_after = 0", "it is longer than nothing"),
        (_SETTINGS.replace("/a", "a"), "'a' is no path of a znode"),
        (_SETTINGS.replace('"a"', '"a/"'), "'a/' is no name of a file"),
        (_SETTINGS.replace('"a"', r'"a\nb"'), "is no name of a file"),
        (_SETTINGS.replace('"a"', '".coterie-agent/a"'), "is the agent's own"),
        (_SERVERS + 'versions = "new"', "versions: Invalid specifier"),
        (_SERVERS + 'format = "xml"', "'xml' is neither"),
        (_SERVERS + 'format = "json"\neach = "x"', "not for JSON"),
        (_SERVERS + "share = 2", "2 is no share"),
        (_SERVERS + "least = 0", "0 is no count"),
        ('[commands]\nx = "reload"', r"\[commands\] x: run: a command is a list of words"),
        ('[commands]\njson = ["x"]', "the name of a check"),
        ("[agent]\nregister = true", "register needs a page"),
        ("[agent]\npage = 70000", "70000 is no port"),
    ],
)
def test_what_makes_no_sense_is_one_line_that_says_where(text: str, complaint: str) -> None:
    with pytest.raises(SubscriptionError, match=complaint) as caught:
        parse_plan(text)
    assert "\n" not in str(caught.value)


def test_a_znode_says_what_and_not_how() -> None:
    commands = {"reload": Command(("true",))}
    found = parse_znode(f'{_SETTINGS}reload = "reload"'.encode(), commands)
    assert found == (SettingsFile("/a", "a", reload="reload"),)
    assert parse_znode(b"", commands) == ()


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (b'[commands]\nx = ["rm", "-r", "/"]', "for the local file only"),
        (b'[agent]\nhosts = "evil:1"', "for the local file only"),
        (_SETTINGS.replace('"a"', '"/etc/passwd"').encode(), "files below the directory"),
        (_SETTINGS.replace('"a"', '"b/../../x"').encode(), "files below the directory"),
        (_SETTINGS.encode() + b'template = "../key.pem"', "files below the directory"),
        (_SETTINGS.encode() + b'check = "rm"', "has no 'rm'"),
        (b"\xff", "not UTF-8"),
    ],
)
def test_who_writes_a_znode_gets_nothing_else_on_the_host(text: bytes, complaint: str) -> None:
    with pytest.raises(SubscriptionError, match=complaint):
        parse_znode(text, {})


def test_two_sources_do_not_write_one_file() -> None:
    one, other = (SettingsFile("/a", "a"),), (ServersFile("b", "b"),)
    assert merge([one, other]) == one + other
    with pytest.raises(SubscriptionError, match="a is written by two"):
        merge([one, other, one])
