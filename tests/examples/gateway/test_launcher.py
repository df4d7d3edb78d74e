"""The launcher: what it starts, where, and that it starts it once."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from coterie.testing.ports import free_port
from examples.gateway.__main__ import Gateway, LaunchError, Plan, main

pytestmark = pytest.mark.gateway

NOTHING = "127.0.0.1:1"


async def test_ports_and_names_are_nobody_elses(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", free_port()))
        taken.listen()
        port = taken.getsockname()[1]
        counts = [("portal", "", 2), ("manager", "local", 1)]
        async with Gateway(Plan(tmp_path, port=port, hosts=NOTHING, counts=counts)) as gateway:
            children = gateway.supervisor.children
            assert list(children) == ["portal-1", "portal-2", "manager-local-1"]
            addresses = {child.spec.address for child in children.values()}
            assert len(addresses) == 3
            assert f"127.0.0.1:{port}" not in addresses
            assert gateway.add("manager", "local", "3.0.0").spec.name == "manager-local-2"
            with pytest.raises(ValueError, match="no kind"):
                gateway.add("manager", "slurm")


async def test_one_gateway_at_a_time_has_a_folder(tmp_path: Path) -> None:
    plan = Plan(tmp_path, hosts=NOTHING, counts=())
    async with Gateway(plan):
        with pytest.raises(LaunchError, match="another gateway"):
            async with Gateway(plan):
                pass
    async with Gateway(plan):
        pass


def test_what_cannot_be_started_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").touch()
    assert main(["--data", str(tmp_path / "file" / "x"), "--hosts", NOTHING]) == 2
    assert capsys.readouterr().err.startswith("gateway: ")


@pytest.mark.timeout(180)
def test_it_comes_up_runs_the_samples_and_ends(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    port = free_port()
    assert main(["--data", str(tmp_path), "--port", str(port), "--check"]) == 0
    said = capsys.readouterr().out
    assert said.count("the result is right") == 2
