"""What is no proof, keys that change, a KDC that is away, and servers that cannot begin."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

import coterie
from coterie.errors import NotConnectedError
from coterie.system import kerberos
from coterie.testing.ports import free_port
from coterie.values import Id
from coterie.wire.gssapi import OFFER, ContextError
from tests.compat import raw
from tests.compat.servers import PROJECT
from tests.kerberos.conftest import Realm
from tests.kerberos.kdc import SERVICE
from tests.kerberos.servers import PRINCIPAL, CoterieWithKey, WithKey

_SERVICE = SERVICE.replace("/", "@")


def _ask(client: raw.Client, token: bytes) -> raw.Reply:
    return client.call(raw.SASL, raw.buffer(token))


def _token(reply: raw.Reply) -> bytes:
    assert reply.error == 0
    return raw.Reader(reply.body).buffer() or b""


def _ended(reply: raw.Reply, client: raw.Client) -> None:
    """Refused, with Apache's error where SASL is demanded, and closed."""
    assert reply.error == -124
    with pytest.raises(raw.ClosedError):
        client.receive()


# By hand, against both servers


def test_what_is_no_ticket_is_refused_and_the_connection_closed(strict: WithKey) -> None:
    for token in (b"x", bytes(1000), b"\x60\x84\xff\xff\xff\xff"):
        with raw.Client(strict.port) as client:
            _ended(_ask(client, token), client)


def test_a_ticket_that_another_has_shown_is_none(realm: Realm, strict: WithKey) -> None:
    ticket = kerberos.initiate(_SERVICE, "bob", str(realm.bob)).step(b"")
    with raw.Client(strict.port) as client:
        assert _token(_ask(client, ticket))
    with raw.Client(strict.port) as client:
        _ended(_ask(client, ticket), client)


def test_to_have_shown_a_ticket_is_not_enough(realm: Realm, strict: WithKey) -> None:
    context = kerberos.initiate(_SERVICE, "bob", str(realm.bob))
    with raw.Client(strict.port) as client:
        context.step(_token(_ask(client, context.step(b""))))
        assert client.call(raw.EXISTS, raw.path_watch("/")).error == -124
    context = kerberos.initiate(_SERVICE, "bob", str(realm.bob))
    with raw.Client(strict.port) as client:
        context.step(_token(_ask(client, context.step(b""))))
        assert context.unwrap(_token(_ask(client, b"")))[0] & 1
        _ended(_ask(client, OFFER + b"bob"), client)  # not wrapped: without the key


def test_whom_a_client_says_it_acts_for_gives_it_nothing(realm: Realm, strict: WithKey) -> None:
    context = kerberos.initiate(_SERVICE, "bob", str(realm.bob))
    with raw.Client(strict.port) as client:
        context.step(_token(_ask(client, context.step(b""))))
        context.unwrap(_token(_ask(client, b"")))
        reply = _ask(client, context.wrap(OFFER + b"ann@EXAMPLE.ORG"))
        assert (reply.error, reply.body) == (0, b"\xff" * 4)
        said = client.ok(raw.WHO_AM_I).body
        assert b"bob@EXAMPLE.ORG" in said
        assert b"ann" not in said


# Ours alone


def test_a_new_key_counts_at_once_and_the_old_ticket_still_does(
    realm: Realm, tmp_path: Path
) -> None:
    keytab = realm.kdc.add("rolling/localhost")
    accept = kerberos.acceptor(str(keytab), "rolling/localhost")
    old = kerberos.initiate("rolling@localhost", "bob", str(realm.bob))
    ticket = old.step(b"")
    realm.kdc.new_key("rolling/localhost", keytab)
    realm.kdc.kinit("ann", realm.ann, tmp_path / "ccache")
    new = kerberos.initiate("rolling@localhost", "ann", str(realm.ann))
    for context, token in ((old, ticket), (new, new.step(b""))):
        assert accept().step(token)
        assert not context.stands()


def test_nobody_in_particular_is_refused() -> None:
    import gssapi

    class Anonymous:
        complete = True
        actual_flags = gssapi.RequirementFlag.anonymity

    with pytest.raises(ContextError, match="nobody in particular"):
        kerberos.Context(Anonymous()).peer()


def test_a_client_waits_for_a_kdc_that_comes_back(realm: Realm, tmp_path: Path) -> None:
    eve = coterie.Kerberos(str(realm.kdc.add("eve")))  # of whom no ticket is known yet

    async def main(hosts: str) -> None:
        with pytest.raises(NotConnectedError, match="Cannot contact any KDC"):
            await coterie.connect(hosts, sasl=eve, call_timeout_s=1).start()
        waiting = coterie.connect(hosts, sasl=eve)
        async with asyncio.TaskGroup() as group:
            starting = group.create_task(waiting.start())
            await asyncio.to_thread(realm.kdc.start)
            await starting
        assert Id("sasl", "eve@EXAMPLE.ORG") in await waiting.who_am_i()
        await waiting.close()

    with CoterieWithKey(tmp_path, realm.kdc, realm.service) as server:
        realm.kdc.stop()
        try:
            asyncio.run(asyncio.wait_for(main(f"localhost:{server.port}"), 30))
        finally:
            realm.kdc.stop()
            realm.kdc.start()


def _serve(tmp_path: Path, *lines: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """What a server says that cannot begin."""
    config = tmp_path / "zoo.cfg"
    least = f"dataDir={tmp_path}/data", f"clientPort={free_port()}", "clientPortAddress=127.0.0.1"
    config.write_text("\n".join((*least, *lines)))
    return subprocess.run(
        [sys.executable, "-m", "coterie", "serve", str(config)],
        cwd=PROJECT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )


def test_a_server_without_its_key_does_not_start(realm: Realm, tmp_path: Path) -> None:
    done = _serve(tmp_path, f"sasl.keytab={realm.bob}", f"sasl.principal={PRINCIPAL}")
    assert done.returncode == 2
    last = done.stderr.splitlines()[-1]
    assert f"there is no key of {PRINCIPAL} in {realm.bob}" in last
    assert "No key table entry found" in last
    done = _serve(
        tmp_path,
        f"sasl.keytab={realm.service}",
        "requireKerberosConfig=true",
        KRB5_CONFIG=os.devnull,
    )
    assert done.returncode == 2
    assert "krb5.conf names no default realm" in done.stderr.splitlines()[-1]
