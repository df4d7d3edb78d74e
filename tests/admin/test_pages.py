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


@pytest.mark.parametrize(
    ("name", "instead"),
    [("snap", "admin.snapshot.enabled"), ("rest", "coterie snapshot restore")],
)
def test_what_is_not_done_over_http_is_done_otherwise(name: str, instead: str) -> None:
    status, told = pages.run(name, Served().status(), posted=True)
    assert status == 503
    assert instead in told["error"]


@pytest.mark.parametrize("name", ["shed", "shed_connections"])
def test_connections_are_not_shed_by_a_link(name: str) -> None:
    status, told = pages.run(name, Served().status())
    assert (status, told["command"]) == (405, "shed_connections")


@pytest.mark.parametrize(
    ("body", "percentage"),
    [
        (b'{"percentage": 0}', 0),
        (b'{"percentage": 25}', 25),
        (b'{"percentage": 100, "more": []}', 100),
        # As Jackson's asInt.
        (b'{"percentage": "25"}', 25),
        (b'{"percentage": 25.9}', 25),
    ],
)
def test_how_much_is_to_be_shed(body: bytes, percentage: int) -> None:
    assert pages.percentage(body) == percentage


_OUT_OF_RANGE = "Percentage must be between 0 and 100"


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"", "Request body is required"),
        (b"{}", "Missing required field: percentage"),
        (b'{"percent": 1}', "Missing required field: percentage"),
        (b"[1]", "Missing required field: percentage"),
        (b'{"percentage": 101}', _OUT_OF_RANGE),
        (b'{"percentage": -1}', _OUT_OF_RANGE),
        (b'{"percentage": 1e99}', _OUT_OF_RANGE),
        (b'{"percentage": null}', _OUT_OF_RANGE),
        (b'{"percentage": true}', _OUT_OF_RANGE),
        (b'{"percentage": [5]}', _OUT_OF_RANGE),
        (b'{"percentage": "half"}', _OUT_OF_RANGE),
        (b'{"percentage": 1' + b"0" * 5000 + b"}", "Invalid JSON or failed to read request body"),
        (b"\xff", "Invalid JSON or failed to read request body"),
        (b'{"percentage":', "Invalid JSON or failed to read request body"),
        (b"[" * 100_000, "Invalid JSON or failed to read request body"),
    ],
)
def test_what_does_not_say_how_much_is_refused_by_apaches_words(body: bytes, said: str) -> None:
    with pytest.raises(pages.BodyError) as caught:
        pages.percentage(body)
    assert str(caught.value).startswith(said)


def test_no_secret_is_told() -> None:
    served = Served()
    told = pages.run("sysp", served.status())[1]
    assert told["zookeeper.tickTime"] == "2000"
    assert not [key for key in told if "superDigest" in key]


def test_the_index_links_to_every_command() -> None:
    text = pages.index("/commands")
    assert '<a href="/commands/server_stats">server_stats</a>' in text
    assert text.count("<a ") == len(COMMANDS)
