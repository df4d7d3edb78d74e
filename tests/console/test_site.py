"""What is at the two ports of a server, over real connections."""

from __future__ import annotations

import asyncio
import json
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from coterie.config import Config
from coterie.console.site import Site, pages
from coterie.ensemble import Ensemble
from coterie.runtime.doors import Inside
from coterie.runtime.process import ServerProcess
from coterie.settings import NO_PORT
from coterie.testing.ports import free_port
from tests.admin.served import Served
from tests.runtime.certificates import Authority
from tests.runtime.server import Server, until


def _site(*, metrics_only: bool = False, address: str = "127.0.0.1", **more: object) -> Site:
    served = Served()
    config = replace(served.config, admin_address=address, **more)  # type: ignore[arg-type]
    return pages(Inside(config, served.status, lambda: None, lambda: 1, metrics_only))


async def _get(site: Site, path: str, method: str = "GET", host: str = "localhost") -> bytes:
    """The first line of the answer."""
    server = await asyncio.get_running_loop().create_server(site.protocol, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(f"{method} {path} HTTP/1.1\r\nHost: {host}\r\n\r\n".encode())
    line = await reader.readline()
    writer.close()
    server.close()
    await site.close()
    return line.strip()


async def test_the_port_of_the_pages_has_all() -> None:
    assert await _get(_site(), "/metrics") == b"HTTP/1.1 200 OK"
    assert await _get(_site(), "/commands/ruok") == b"HTTP/1.1 200 OK"
    assert await _get(_site(), "/ready") == b"HTTP/1.1 200 OK"


async def test_the_port_for_metrics_has_nothing_else() -> None:
    assert await _get(_site(metrics_only=True), "/metrics") == b"HTTP/1.1 200 OK"
    assert await _get(_site(metrics_only=True), "/commands/ruok") == b"HTTP/1.1 404 Not Found"


async def test_elsewhere_than_on_loopback_the_server_knows_its_names() -> None:
    member: dict[str, Any] = {
        "ensemble": Ensemble.parse("server.1=zk1.example.org:1:2\nserver.2=zk2.example.org:1:2"),
        "server_id": 1,
        "admin_host_names": ("console.example.org",),
    }
    for host, answer in (
        ("here", b"200"),  # It is so in the status of the server.
        ("zk1.example.org", b"200"),
        ("console.example.org", b"200"),
        ("zk2.example.org", b"421"),
        ("evil.example", b"421"),
    ):
        assert answer in await _get(_site(address="0.0.0.0", **member), "/live", host=host)
    assert b"421" in await _get(_site(**member), "/live", host="zk1.example.org")
    assert b"200" in await _get(_site(**member), "/live", host="console.example.org")


def _tls_alone(authority: Authority, **more: object) -> Config:
    config = Config(
        data_dir=str(authority.directory / "data"),
        client_port=NO_PORT,
        secure_port=0,
        secure_port_address="127.0.0.1",
        admin_port_given=0,
        client_key_store=str(authority.issue("server", "zk1.example.org")),
        client_trust_store=str(authority.trust),
        four_letter_words=frozenset({"mntr"}),
    )
    return replace(config, **more)  # type: ignore[arg-type]


async def _ask_server(config: Config, path: str, method: str = "GET") -> bytes:
    """The whole answer of a server that is there for this one question."""
    server = ServerProcess(config, pages=pages)
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.doors[0].port)
        asked = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nX-Requested-By: test\r\n"
        writer.write(f"{asked}Connection: close\r\n\r\n".encode())
        answer = await asyncio.wait_for(reader.read(), 15)
        writer.close()
        return answer
    finally:
        await server.stop()


async def test_where_clients_come_by_tls_alone_the_pages_do_so_with_a_certificate_of_theirs(
    tmp_path: Path,
) -> None:
    authority = Authority(tmp_path)
    refused = await _ask_server(_tls_alone(authority), "/znodes/?children")
    assert b"503" in refused.splitlines()[0]
    assert b"admin.client.keyStore.location" in refused
    config = _tls_alone(authority, admin_client_key_store=str(authority.issue("pages")))
    made = await _ask_server(config, "/znodes/a?acl=creator", "POST")
    assert b"201" in made.splitlines()[0]
    told = await _ask_server(config, "/znodes/a?acl")
    assert b"CN=pages,OU=Ops,O=Example" in told, "the creator is who the certificate is"
    state = await _ask_server(config, "/console/state")
    assert b'"mode":"standalone"' in state


async def test_where_nobody_needs_a_certificate_the_pages_need_none(tmp_path: Path) -> None:
    config = _tls_alone(Authority(tmp_path), client_auth="none", client_trust_store=None)
    assert b"200" in (await _ask_server(config, "/znodes/?children")).splitlines()[0]


async def test_who_may_change_something() -> None:
    reset = "/commands/stat_reset"
    assert b"200" in await _get(_site(), reset)
    assert b"403" in await _get(_site(admin_read_only_given=True), reset)
    assert b"403" in await _get(_site(address="0.0.0.0"), reset)
    assert b"200" in await _get(_site(address="0.0.0.0", admin_read_only_given=False), reset)


def _at(port: int) -> dict[str, Any]:
    return {"admin__enableServer": "true", "admin__serverPort": port}


def _ask(port: int, path: str) -> tuple[int, dict[str, object]]:
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=20) as answer:
            return answer.status, json.load(answer)
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)


@pytest.mark.slow
def test_a_server_by_itself_is_ready(tmp_path: Path) -> None:
    port = free_port()
    with Server(tmp_path, None, **_at(port)) as server:
        until(lambda: server.said("pages"))
        assert _ask(port, "/ready") == (200, {"ready": True, "reason": None})
        told = _ask(port, "/commands/conf")[1]
        assert (told["command"], told["client_port"]) == ("configuration", server.port)
        made = urllib.request.Request(
            f"http://127.0.0.1:{port}/znodes/a", b"x", {"X-Requested-By": "test"}, method="POST"
        )
        with urllib.request.urlopen(made, timeout=20) as answer:
            assert answer.status == 201
        assert server.stop() == 0


@pytest.mark.slow
def test_one_of_three_is_live_and_not_ready(tmp_path: Path) -> None:
    port = free_port()
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "myid").write_text("1")
    lines = {f"server__{id}": f"127.0.0.1:{free_port()}:{free_port()}" for id in (1, 2, 3)}
    with Server(tmp_path, None, **_at(port), initLimit=5, syncLimit=5, **lines) as server:
        until(lambda: server.said("pages"))
        status, told = _ask(port, "/ready")
        assert (status, told["ready"]) == (503, False)
        assert "no quorum" in str(told["reason"])
        assert _ask(port, "/live")[0] == 200
        assert _ask(port, "/commands/srvr")[1]["error"] is not None
        assert _ask(port, "/console/state")[1]["unready"] == told["reason"]
        assert _ask(port, "/commands/voting_view")[0] == 200
        assert server.stop() == 0
