"""Prometheus's text format: each line is read as its specification has it."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Final

from coterie.admin.exposition import metrics_text, render
from tests.admin.served import Served

_DASHBOARD: Final = Path(__file__).parent.parent.parent / "deploy" / "grafana" / "coterie.json"
_ONLY_RUNNING: Final = {"fsynctime_sum", "fsynctime_count", "coterie_resident_memory_bytes"}
"""What the runtime adds."""

_SAMPLE = re.compile(r'([a-zA-Z_:][a-zA-Z0-9_:]*)(?:\{(\w+)="([^"\\\n]*)"\})? (-?[0-9.e+-]+)')


def samples(text: str) -> dict[str, float]:
    """The samples by name and label; every line has to be one, or the type of what follows."""
    found: dict[str, float] = {}
    typed: dict[str, str] = {}
    assert text.endswith("\n")
    for line in text.splitlines():
        if line.startswith("# TYPE "):
            _, _, name, kind = line.split(" ")
            assert name not in typed, "a type is told once"
            assert kind in ("gauge", "counter", "summary")
            typed[name] = kind
            continue
        match = _SAMPLE.fullmatch(line)
        assert match, line
        name, label, value, number = match.groups()
        base = re.sub("_(count|sum)$", "", name)
        assert name in typed or typed.get(base) == "summary"
        key = f"{name}{{{label}={value}}}" if label else name
        assert key not in found
        found[key] = float(number)
    return found


def test_names_are_those_of_apaches_exporter() -> None:
    served = Served()
    client = served.connect(4001)
    served.create(client, b"/a", b"12345")
    told = samples(metrics_text(served.status(), ready=True))
    assert told["znode_count"] == 6
    assert told["num_alive_connections"] == 1
    assert told["op_count_create"] == 1
    assert told["ephemerals_count"] == 0
    assert told["open_file_descriptor_count"] == 7
    assert not [name for name in told if name.startswith("zk_")]


def test_the_state_is_one_of_all() -> None:
    told = samples(metrics_text(Served().status(), ready=False))
    states = {name: value for name, value in told.items() if "server_state" in name}
    assert [name for name, value in states.items() if value] == [
        "coterie_server_state{state=standalone}"
    ]
    assert told["coterie_ready"] == 0


def test_what_the_monitor_command_flattens_is_a_summary_again() -> None:
    text = render({"cnt_fsynctime": 4, "avg_fsynctime": 2.5, "server_state": "leader"}, True)
    told = samples(text)
    assert (told["fsynctime_count"], told["fsynctime_sum"]) == (4, 10)
    assert "avg_fsynctime" not in told


def test_the_dashboard_asks_for_what_there_is() -> None:
    text = _DASHBOARD.read_text(encoding="utf-8")
    told = samples(metrics_text(Served().status(), ready=True)).keys()
    names = {name.partition("{")[0] for name in told} | _ONLY_RUNNING
    asked = {
        name
        for panel in json.loads(text)["panels"]
        for target in panel["targets"]
        for name in re.findall(r"\b([a-z_]{6,})\{", target["expr"])
    }
    assert len(asked) > 10
    assert asked <= names
