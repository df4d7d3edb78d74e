"""A client for one command: how it ends, and with which exit status."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from typing import Any

import pytest

from coterie import errors
from coterie.cli import operations, session
from coterie.client.kerberos import Kerberos
from coterie.system.tls import TLSFiles
from coterie.testing.cluster import Server
from coterie.testing.ports import free_port
from tests.cli.conftest import Command


@pytest.mark.parametrize(
    ("kind", "status"),
    [
        (errors.NoNodeError, 1),
        (errors.BadVersionError, 1),
        (errors.NoAuthError, 1),
        (errors.TooLargeError, 1),
        (errors.BadArgumentsError, 2),
        (errors.OutcomeUnknown, 3),
        (errors.NotConnectedError, 3),
        (errors.OperationTimeoutError, 3),
        (errors.SessionExpiredError, 3),
    ],
)
def test_the_exit_status_says_whose_turn_it_is(
    kind: type[errors.ZooKeeperError], status: int
) -> None:
    assert session.status_of(kind("/a", "get")) == status


def test_an_operation_is_named_by_its_module() -> None:
    assert session.find("operations:get") is operations.get


def test_nobody_there() -> None:
    port = free_port()
    coterie = Command(f"127.0.0.1:{port}")
    result = coterie.run("get", "/", "--timeout", "0.2")
    assert result.exit_code == 3
    assert result.stderr.count("\n") == 1
    assert f"127.0.0.1:{port}" in result.stderr


def test_hosts_that_make_no_sense() -> None:
    result = Command("127.0.0.1:port").run("ls", "/")
    assert result.exit_code == 2
    assert result.stderr == "coterie ls: '127.0.0.1:port': 'port' is no port\n"


def test_what_is_refused_is_one_line(coterie: Command) -> None:
    result = coterie.run("get", "/nobody")
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == "coterie get: get /nobody: The znode does not exist\n"


def test_what_is_refused_is_an_object_for_programs(coterie: Command) -> None:
    result = coterie.run("get", "/nobody", "--json")
    assert (result.exit_code, result.stdout) == (1, "")
    assert json.loads(result.stderr)["error"] == "NoNode"


def test_who_asks_is_said(coterie: Command) -> None:
    coterie("create", "/mine", "x", "auth::all", "--auth", "digest:me:secret")
    assert coterie.run("get", "/mine").exit_code == 1
    assert coterie("get", "/mine", "--auth", "digest:me:secret") == "x\n"
    coterie("rm", "/mine")


def test_a_write_without_an_answer_has_an_unknown_outcome(
    coterie: Command, coterie_server: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server stands still once the session is there; only the write waits."""
    original = operations.set_data

    async def stand_still_before(s: session.Session, **given: Any) -> None:
        await asyncio.to_thread(coterie_server.pause)
        await original(s, **given)

    monkeypatch.setattr(operations, "set_data", stand_still_before)
    result = coterie.run("set", "/", "x", "--timeout", "0.3")
    coterie_server.resume()
    assert result.exit_code == 3
    assert "no answer came" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "number", "status"),
    [
        (["create", "-e", "/kept"], signal.SIGINT, 0),
        (["create", "-e", "/kept"], signal.SIGTERM, 0),
        (["watch", "/kept"], signal.SIGTERM, 0),
        (["watch", "--once", "/kept"], signal.SIGINT, 130),
    ],
)
def test_a_signal_ends_the_session_cleanly(
    coterie: Command, arguments: list[str], number: signal.Signals, status: int
) -> None:
    command = [sys.executable, "-m", "coterie", *arguments]
    environment = {**os.environ, "COTERIE_HOSTS": coterie.hosts}
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, stdout=subprocess.PIPE, env=environment
    ) as process:
        assert process.stderr is not None
        assert process.stderr.readline()
        process.send_signal(number)
        assert process.wait(10) == status
        assert not process.stderr.read()
    assert coterie("ls", "/") == ""


def _given(*auth: tuple[str, str], **files: str) -> dict[str, Any]:
    given = dict.fromkeys(("tls_ca", "tls_cert", "tls_key"))
    return {**given, "hosts": "h", "auth": auth, "other": 1, **files}


def test_sasl_is_one_of_the_ways_to_say_who_asks() -> None:
    given = _given(("digest", "a:b"), ("sasl", "me:se:cret"))
    assert session.connection(given) == {
        "hosts": "h",
        "auth": [("digest", "a:b")],
        "sasl": ("me", "se:cret"),
    }
    assert given == {"other": 1}


def test_kerberos_is_another_and_is_not_always_there(
    coterie: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coterie.system.kerberos.check", lambda keytab: None)
    assert session.connection(_given(("kerberos", "")))["sasl"] == Kerberos()
    assert session.connection(_given(("kerberos", "/k")))["sasl"] == Kerberos("/k")
    monkeypatch.undo()
    monkeypatch.setitem(sys.modules, "gssapi", None)
    result = coterie.run("ls", "/", "--auth", "kerberos:")
    assert result.exit_code == 2
    assert "pip install 'coterie[kerberos]'" in result.stderr


def test_files_for_tls(coterie: Command) -> None:
    wanted = session.connection(_given(tls_ca="ca", tls_cert="cert", tls_key="key"))
    assert wanted["tls"] == TLSFiles(certificate="cert", key="key", ca="ca")
    result = coterie.run("ls", "/", "--tls-ca", "/nowhere")
    assert result.exit_code == 2
    assert result.stderr.count("\n") == 1
    assert "/nowhere" in result.stderr
