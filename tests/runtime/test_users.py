"""Users from their files: what is in them counts, and what cannot be read is said in one line."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from random import Random

import pytest

import coterie
from coterie.client.sasl import Sasl
from coterie.config import Config
from coterie.errors import AuthFailedError
from coterie.runtime import users
from coterie.runtime.process import ServerProcess
from coterie.runtime.users import KnownUsers, known
from coterie.users import UsersError

_JAAS = 'Own { org.apache.zookeeper.server.auth.DigestLoginModule required user_super="x"; };'


def _knows(found: KnownUsers | None, user: str, password: str) -> bool:
    assert found is not None
    client, server = Sasl(user, password, Random(1)), found.users.handshake()
    try:
        client.answer(server.answer(client.answer(server.answer(b""))))
    except AuthFailedError:
        return False
    return client.done


def test_users_of_either_kind_of_file(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text("zoë:é\n", "utf-8")
    assert _knows(known(Config(data_dir="d", sasl_users_file=str(file))), "zoë", "é")
    file.write_text(_JAAS)
    config = Config(data_dir="d", sasl_jaas_file=str(file), sasl_jaas_section="Own")
    assert _knows(known(config), "super", "x")
    assert known(Config(data_dir="d")) is None


def test_the_password_of_super_may_be_a_setting(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text("ann:a\nsuper:x\n")
    config = Config(data_dir="d", sasl_users_file=str(file), sasl_super_password="other")
    assert _knows(known(config), "super", "other")
    assert not _knows(known(config), "super", "x")
    file.write_text("ann:a\n")
    assert not _knows(known(config), "super", "other")


@pytest.mark.parametrize(
    ("contents", "why"),
    [(None, "cannot be read"), (b"\xff:x", "is not UTF-8"), (b"ann", "line 1 is not user")],
)
def test_a_file_that_cannot_be_used(tmp_path: Path, contents: bytes | None, why: str) -> None:
    file = tmp_path / "users"
    if contents is not None:
        file.write_bytes(contents)
    with pytest.raises(UsersError, match=f"users(: | ){why}"):
        known(Config(data_dir="d", sasl_users_file=str(file)))


def test_users_follow_their_file_and_a_broken_one_changes_nothing(tmp_path: Path) -> None:
    file = tmp_path / "users"
    file.write_text("ann:a\n")
    found = known(Config(data_dir="d", sasl_users_file=str(file)))
    assert found is not None
    begun = found.users.handshake()
    file.write_text("ann:other\nbob:b\n")
    found.look()
    assert _knows(found, "ann", "other")
    assert _knows(found, "bob", "b")
    assert not _knows(found, "ann", "a")
    client = Sasl("ann", "a", Random(1))
    client.answer(begun.answer(client.answer(begun.answer(b""))))
    assert client.done
    file.write_text("bob")
    found.look()
    assert _knows(found, "bob", "b")


def test_who_may_read_the_passwords_is_looked_at(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("coterie.runtime.users.log", logging.getLogger("users"))
    file = tmp_path / "users"
    file.write_text("ann:a\n")
    for mode in (0o600, 0o644):
        file.chmod(mode)
        known(Config(data_dir="d", sasl_users_file=str(file)))
    assert caplog.messages == [
        f"{file} has passwords in it and every user of this machine may read it"
    ]


def test_no_session_ends_when_the_users_change(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "_LOOK_S", 0.01)
    file = tmp_path / "users"
    file.write_text("ann:a\n")
    config = Config(
        data_dir=str(tmp_path / "data"),
        client_port=0,
        client_port_address="127.0.0.1",
        sasl_users_file=str(file),
    )

    async def main() -> None:
        server = ServerProcess(config)
        await server.start()
        address = f"127.0.0.1:{server.port}"
        async with coterie.connect(address, sasl=("ann", "a")) as ann:
            before = ann.session_id
            file.write_text("bob:b\n")
            while not _knows(server._users, "bob", "b"):  # noqa: ASYNC110
                await asyncio.sleep(0)
            async with coterie.connect(address, sasl=("bob", "b")) as bob:
                assert "bob" in [who.id for who in await bob.who_am_i()]
            assert "ann" in [who.id for who in await ann.who_am_i()]
            assert ann.session_id == before
        await server.stop()

    asyncio.run(asyncio.wait_for(main(), 20))
