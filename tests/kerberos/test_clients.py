"""Three clients come in to both servers by a ticket: ours, Java's and kazoo's."""

from __future__ import annotations

import asyncio
import subprocess
from collections.abc import Coroutine
from pathlib import Path
from typing import Final

import pytest

import coterie
from coterie.errors import AuthenticationRequiredError, AuthFailedError, NoAuthError
from coterie.system.transport import new_event_loop
from coterie.values import ACL, Id, Perms, SessionState
from tests.compat.servers import TOOL_S_MAX, java_command
from tests.kerberos.conftest import Begin, Realm
from tests.kerberos.kdc import REALM, SERVICE
from tests.kerberos.servers import WithKey, jaas, java_options

_WAIT_S: Final = 30.0
_BOB: Final = f"bob@{REALM}"
_NAMES: Final = {"kerberos.removeRealmFromPrincipal": "true"}


def _run(test: Coroutine[None, None, None]) -> None:
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(asyncio.wait_for(test, _WAIT_S))


def _hosts(server: WithKey) -> str:
    """By the name that is in the service's principal."""
    return f"localhost:{server.port}"


# Ours


def test_a_znode_of_a_user_is_for_that_user_alone(realm: Realm, strict: WithKey) -> None:
    bob, ann = coterie.Kerberos(str(realm.bob)), coterie.Kerberos(str(realm.ann), "ann")
    of_bob = (ACL(Perms.ALL, Id("sasl", _BOB)),)

    async def main() -> None:
        async with coterie.connect(_hosts(strict), sasl=bob) as zk:
            assert Id("sasl", _BOB) in await zk.who_am_i()
            await zk.create("/bobs", b"his", acl=of_bob)
        async with coterie.connect(_hosts(strict), sasl=ann) as zk:
            with pytest.raises(NoAuthError):
                await zk.get("/bobs")
        async with coterie.connect(_hosts(strict)) as zk:
            with pytest.raises(AuthenticationRequiredError):
                await zk.get("/")
        async with coterie.connect(_hosts(strict), sasl=bob) as zk:
            assert (await zk.get("/bobs")).data == b"his"
            await zk.delete("/bobs")

    _run(main())


def test_what_kinit_got_will_do_and_without_it_that_is_said(
    realm: Realm, strict: WithKey, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{tmp_path}/ccache")

    async def main() -> None:
        with pytest.raises(AuthFailedError, match="No Kerberos credentials available"):
            await coterie.connect(_hosts(strict), sasl=coterie.Kerberos()).start()
        await asyncio.to_thread(realm.kdc.kinit, "ann", realm.ann, tmp_path / "ccache")
        async with coterie.connect(_hosts(strict), sasl=coterie.Kerberos()) as zk:
            assert Id("sasl", f"ann@{REALM}") in await zk.who_am_i()

    _run(main())
    with coterie.connect_blocking(_hosts(strict), sasl=coterie.Kerberos()) as blocking:
        assert Id("sasl", f"ann@{REALM}") in blocking.who_am_i()


def test_a_server_of_another_name_is_not_talked_to(realm: Realm, strict: WithKey) -> None:
    async def main() -> None:
        for name in (
            {"host": "elsewhere"},
            {"service": "http"},
            {"principal": f"other/h@{REALM}"},
        ):
            sasl = coterie.Kerberos(str(realm.bob), **name)
            with pytest.raises(AuthFailedError, match="not found in Kerberos database"):
                await coterie.connect(_hosts(strict), sasl=sasl).start()

    _run(main())


def test_every_connection_proves_itself_again(realm: Realm, begin: Begin) -> None:
    async def main() -> None:
        server = begin({"sessionRequireClientSASLAuth": "true"})
        sasl = coterie.Kerberos(str(realm.bob), principal=f"{SERVICE}@{REALM}")
        async with coterie.connect(server.address, sasl=sasl) as zk:
            session = zk.session_id
            await asyncio.to_thread(server.kill)
            await asyncio.to_thread(server.start)
            await zk.get("/")
            assert (zk.session_id, zk.state) == (session, SessionState.CONNECTED)

    _run(main())


# Java's


def _shell(realm: Realm, server: WithKey, directory: Path, script: str) -> str:
    """What Java's shell shows to bob."""
    java, *rest = java_command("off")
    file = jaas(directory / "client.conf", "Client", realm.bob, _BOB)
    done = subprocess.run(
        [
            java,
            *java_options(realm.kdc, file),
            *rest,
            "org.apache.zookeeper.ZooKeeperMain",
            *("-waitforconnection", "-timeout", "15000", "-server", _hosts(server)),
        ],
        input=script,
        capture_output=True,
        text=True,
        timeout=TOOL_S_MAX,
        check=False,
    )
    return done.stdout + done.stderr


def test_javas_shell_comes_in(realm: Realm, strict: WithKey, tmp_path: Path) -> None:
    script = "whoami\ncreate /java his auth::cdrwa\ngetAcl /java\nget /java\ndelete /java\nquit\n"
    shown = _shell(realm, strict, tmp_path, script)
    assert f"sasl: {_BOB}" in shown
    assert f"'sasl,'{_BOB}" in shown
    assert "\nhis\n" in shown


# kazoo's


def test_kazoo_comes_in(realm: Realm, begin: Begin, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("kerberos", reason="kazoo needs it for GSSAPI")
    import kazoo.security
    from kazoo.client import KazooClient

    server = begin({**_NAMES, "sessionRequireClientSASLAuth": "true"})
    ccache = realm.kdc.directory / "of-kazoo"
    realm.kdc.kinit("bob", realm.bob, ccache)
    monkeypatch.setenv("KRB5CCNAME", f"FILE:{ccache}")
    zk = KazooClient(_hosts(server), sasl_options={"mechanism": "GSSAPI"}, timeout=10)
    zk.start(_WAIT_S)
    try:
        of_bob = kazoo.security.ACL(
            kazoo.security.Permissions.ALL, kazoo.security.Id("sasl", "bob")
        )
        zk.create("/kazoo", b"his", acl=[of_bob])
        assert zk.get("/kazoo")[0] == b"his"
        assert zk.get_acls("/kazoo")[0] == [of_bob]
        zk.delete("/kazoo")
    finally:
        zk.stop()
        zk.close()
