"""What an agent tells of itself."""

from __future__ import annotations

from dataclasses import replace

import pytest

from coterie.gateway.agent.status import decode, encode, metrics, report
from tests.gateway.agent import told
from tests.gateway.agent.told import FILE, NOW

_FILE = replace(FILE, file='a"b', path='/etc/a"b', zxid=0x1A, members=7)
_STATUS = told.status(_FILE)


def test_it_is_json_and_back() -> None:
    status = replace(_STATUS, problems=("x",), files=(_FILE, replace(_FILE, members=None)))
    assert decode(encode(status)) == status
    with pytest.raises(ValueError, match="Status"):
        decode(b"{}")


@pytest.mark.parametrize(
    ("changes", "after_s", "word"),
    [
        ({}, 0, "good"),
        ({"fresh": False}, 600, "old"),
        ({"fresh": False}, 601, "stale"),
        ({"state": "held", "reason": "only 2 of 9 are left"}, 10, "held"),
        ({"state": "held"}, 601, "stale"),
        ({"state": "failing"}, 10, "failing"),
        ({"state": "waiting"}, 10, "waiting"),
        ({"state": "starting", "fresh": False}, 10, "old"),
    ],
)
def test_how_a_file_is_in_one_word(changes: dict[str, object], after_s: float, word: str) -> None:
    file = replace(_FILE, **changes)  # type: ignore[arg-type]
    assert file.word(NOW + round(after_s * 1000)) == word


def test_who_reads_it_judges_by_his_own_clock() -> None:
    assert _STATUS.red(NOW + 20_000) == []
    # The agent has ended long ago, and all was well then.
    assert _STATUS.red(NOW + 21_000) == ["no agent runs: the last sign is 21 s old"]
    assert _STATUS.red(NOW + 3_600_000) == [
        '/etc/a"b is stale',
        "no agent runs: the last sign is 60 min old",
    ]


def test_a_report_for_people() -> None:
    held = replace(
        _FILE,
        file="set",
        state="held",
        reason="only 2 of 9 are left: held",
        confirmed_ms=NOW - 9000,
        offered="abc",
        command="tell",
        reload="pending",
    )
    own = replace(_FILE, file=".coterie-agent/%2Fx.toml", members=1)
    broken = replace(_STATUS.commands[0], problem="tell ended with status 1")
    status = replace(_STATUS, files=(_FILE, held, own), commands=(broken,), problems=("/x: bad",))
    assert report(status, NOW) == [
        "agent 17 on host1, connected to a:2181",
        "subscriptions: /x: bad",
        'good     a"b  (/a) 7 servers, zxid 0x1a',
        (
            "held     set  (/a) only 2 of 9 are left: held, 7 servers, zxid 0x1a, "
            "tell is still to be run, confirmed 9 s ago"
        ),
        "         to let it pass: --confirm set",
        "good     subscriptions  (/a) 1 server, zxid 0x1a",
        "command tell: tell ended with status 1",
    ]
    away = replace(_STATUS, connected=False, trouble="no server (lost)")
    assert report(away, NOW)[:2] == [
        "agent 17 on host1, no server at a:2181",
        "  no server (lost)",
    ]


def test_metrics_are_as_prometheus_reads_them() -> None:
    lines = metrics(_STATUS, NOW + 700_000).splitlines()
    assert 'coterie_agent_file_stale{file="a\\"b"} 1' in lines
    assert 'coterie_agent_file_age_seconds{file="a\\"b"} 700' in lines
    assert 'coterie_agent_file_servers{file="a\\"b"} 7' in lines
    assert 'coterie_agent_command_failures_total{command="tell"} 1' in lines
    assert "coterie_agent_connected 1" in lines
    names = [line.split()[2] for line in lines if line.startswith("# TYPE")]
    assert len(names) == len(set(names))
