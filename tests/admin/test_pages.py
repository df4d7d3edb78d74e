"""The commands over HTTP, against the names of Apache's AdminServer (`Commands.java`)."""

from __future__ import annotations

import json

import pytest

from coterie.admin import pages
from coterie.admin.commands import COMMANDS
from tests.admin.served import Served

_APACHE = {
    "crst": "connection_stat_reset",
    "conf": "configuration",
    "config": "configuration",
    "cons": "connections",
    "env": "environment",
    "envi": "environment",
    "isro": "is_read_only",
    "lsnp": "last_snapshot",
    "lead": "leader",
    "mntr": "monitor",
    "srvr": "server_stats",
    "stat": "stats",
    "srst": "stat_reset",
    "sysp": "system_properties",
    "wchc": "watches",
    "wchp": "watches_by_path",
    "wchs": "watch_summary",
    "ruok": "ruok",
    "zabstate": "zabstate",
    "voting_view": "voting_view",
}


def test_every_command_has_its_names() -> None:
    assert set(pages.PRIMARY.values()) == set(COMMANDS)
    for name, primary in _APACHE.items():
        assert pages.PRIMARY[name] == primary


@pytest.mark.parametrize("name", pages.PRIMARY)
def test_each_answers_as_json(name: str) -> None:
    served = Served()
    served.connect(4001)
    status, result = pages.run(name, served.status())
    told = json.loads(pages.text(result))
    assert status == 200
    assert told["command"] == pages.PRIMARY[name]
    assert told["error"] is None or name in ("leader", "lead")


def test_an_unknown_command_is_told_with_200_as_by_apache() -> None:
    assert pages.run("nonsense", Served().status()) == (
        200,
        {"command": "nonsense", "error": "Unknown command: nonsense"},
    )


def test_who_does_not_serve_says_so() -> None:
    served = Served()
    served.member.server.serving = False
    status, told = pages.run("srvr", served.status())
    error = "This ZooKeeper instance is not currently serving requests"
    assert (status, told) == (200, {"command": "server_stats", "error": error})
    assert pages.run("mntr", served.status())[1]["error"] is None


@pytest.mark.parametrize("name", ["snapshot", "rest", "shed"])
def test_what_is_not_done_over_http(name: str) -> None:
    assert pages.run(name, Served().status(), posted=True)[0] == 503


def test_no_secret_is_told() -> None:
    served = Served()
    told = pages.run("sysp", served.status())[1]
    assert told["zookeeper.tickTime"] == "2000"
    assert not [key for key in told if "superDigest" in key]


def test_the_index_links_to_every_command() -> None:
    text = pages.index("/commands")
    assert '<a href="/commands/server_stats">server_stats</a>' in text
    assert text.count("<a ") == len(COMMANDS)
