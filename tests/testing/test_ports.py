"""Ports of servers that are to be started."""

from __future__ import annotations

import socket

import pytest

from coterie.testing import ports
from coterie.testing.ports import free_port, free_ports

_HOST = "127.0.0.1"


def test_it_can_be_listened_at_and_is_none_of_outgoing_connections() -> None:
    linux_least = 32768
    for port in free_ports(20):
        assert 1024 <= port < linux_least
        socket.create_server((_HOST, port)).close()


def test_a_port_is_given_once_though_nobody_listens_yet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_PORTS", range(12_000, 12_400))
    given = [*free_ports(40), *(free_port() for _ in range(40))]
    assert len(set(given)) == 80


def test_a_port_at_which_somebody_listens_is_not_given(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_TRIES_MAX", 1)
    port = free_port()
    with socket.create_server((_HOST, port)):
        ports._given.clear()
        monkeypatch.setattr(ports, "_PORTS", [port])
        with pytest.raises(OSError, match="no free ports"):
            free_port()
    assert free_port() == port


def test_one_that_was_given_long_ago_is_given_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ports, "_PORTS", range(12_000, 12_200))
    monkeypatch.setattr(ports, "_given", type(ports._given)(maxlen=20))
    given = free_ports(250)
    assert all(port not in given[max(0, n - 20) : n] for n, port in enumerate(given))
