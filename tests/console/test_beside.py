"""A console beside an ensemble: whom it finds there."""

from __future__ import annotations

from functools import partial

import pytest

from coterie.client.client import Client
from coterie.client.hosts import ConnectString
from coterie.console.beside import Finder, beside
from coterie.console.clients import Clients
from coterie.console.site import client_of
from coterie.ensemble import Ensemble


def _says(text: str) -> object:
    async def config(client: Client) -> Ensemble:
        return Ensemble.parse(text)

    return config


async def _found(hosts: str, named: str) -> list[str]:
    clients = Clients(partial(client_of, hosts))
    found = await Finder(ConnectString.parse(named), clients).find()
    await clients.close()
    return [each.shown() for each in found]


async def test_a_server_alone_is_who_was_named(hosts: str) -> None:
    assert await _found(hosts, "a:1,b:2/root") == ["a:1", "b:2"]


async def test_members_are_whom_the_configuration_names(
    hosts: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = "server.1=a:1:2;2181\nserver.2=b:1:2;2182"
    monkeypatch.setattr(Client, "config", _says(lines))
    assert await _found(hosts, "a:2181") == ["a:2181", "b:2182"]
    alike = "server.1=a:1:2\nserver.2=a:3:4"
    monkeypatch.setattr(Client, "config", _says(alike))
    assert await _found(hosts, "a:2181,a:2182") == ["a:2181", "a:2182"]
    assert await _found(hosts, "a:2181") == ["", ""]


async def test_its_site_closes(hosts: str) -> None:
    site = beside(hosts, partial(client_of, hosts), "127.0.0.1", read_only=True)
    await site.close()
