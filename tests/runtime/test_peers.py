"""The ports for other members: bytes go over real sockets, and whatever fails is told once."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from coterie.config import Config
from coterie.core.link import ELECTION, QUORUM, Link
from coterie.ensemble import Ensemble
from coterie.runtime import peers
from coterie.runtime.driver import Driver
from coterie.runtime.peers import PeerPorts
from coterie.runtime.sasl import MemberSasl
from coterie.runtime.tls import MemberTLS
from coterie.system import transport
from coterie.wire.peers import Initial
from tests.runtime.certificates import Authority
from tests.runtime.test_sasl import jaas, sasl


@dataclass
class Member:
    """What a member is told, in order."""

    told: list[tuple[str, Link, bytes]] = field(default_factory=list)
    config: Any = field(default_factory=lambda: SimpleNamespace(connection_timeout_ms=1000))

    def accepted(self, link: Link) -> None:
        self.told.append(("accepted", link, b""))

    def opened(self, link: Link) -> None:
        self.told.append(("opened", link, b""))

    def heard(self, link: Link, data: bytes) -> None:
        self.told.append(("heard", link, data))

    def lost(self, link: Link) -> None:
        link.gone = True
        self.told.append(("lost", link, b""))

    def drained_link(self, link: Link) -> None:
        self.told.append(("drained", link, b""))

    def seen(self) -> list[str]:
        return [what for what, _, _ in self.told]


class Place:
    """One member's ports on a free port of this machine."""

    def __init__(self, tls: MemberTLS | None = None, sasl: MemberSasl | None = None) -> None:
        loop = asyncio.get_running_loop()
        self.member = Member()
        self.turns = 0
        driver = SimpleNamespace(loop=loop, begin=self._begin, chunks=0)
        self.ports = PeerPorts(cast(Driver, driver), cast(Any, self.member))
        self.ports.tls = tls
        self.ports.sasl = sasl

    def _begin(self) -> None:
        self.turns += 1

    async def serve(self, kind: str, port: int = 0) -> int:
        listener = transport.bind("127.0.0.1", port, 5)
        protocol = self.ports.election if kind == ELECTION else self.ports.quorum
        secure = None if self.ports.tls is None else self.ports.tls.secure
        self.server = await transport.serve(listener, protocol, 5, secure)
        bound: int = listener.getsockname()[1]
        return bound


async def until(true: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not true():  # noqa: ASYNC110
            await asyncio.sleep(0)


async def _both_ways() -> None:
    here, there = Place(), Place()
    port = await there.serve(QUORUM)
    link = Link(QUORUM, 2, (("127.0.0.1", port),))
    here.ports.dial(link)
    await until(lambda: here.member.seen() == ["opened"] and there.member.seen() == ["accepted"])
    other = there.member.told[0][1]
    assert (other.kind, other.dialled) == (QUORUM, False)
    link.out += [b"one", b"two"]
    here.ports.send(link)
    assert link.out == []
    await until(lambda: len(there.member.told) == 2)
    assert there.member.told[1] == ("heard", other, b"onetwo")
    other.out.append(b"last")
    there.ports.close(other)
    await until(lambda: here.member.seen() == ["opened", "heard", "lost"])
    await until(lambda: there.member.seen()[-1] == "lost")
    assert here.ports.protocols == there.ports.protocols == {}
    assert here.turns >= 3
    there.server.close()


def test_bytes_go_both_ways_and_the_last_arrive_before_the_end() -> None:
    asyncio.run(_both_ways())


async def _nobody() -> None:
    here = Place()
    listener = transport.bind("127.0.0.1", 0, 5)
    port = listener.getsockname()[1]
    listener.close()
    link = Link(ELECTION, 2, (("127.0.0.1", port),))
    here.ports.dial(link)
    await until(lambda: here.member.seen() == ["lost"])


def test_where_nobody_listens_the_link_is_lost() -> None:
    asyncio.run(_nobody())


async def _second_address() -> None:
    here, there = Place(), Place()
    listener = transport.bind("127.0.0.1", 0, 5)
    closed = listener.getsockname()[1]
    listener.close()
    port = await there.serve(ELECTION)
    link = Link(ELECTION, 2, (("127.0.0.1", closed), ("127.0.0.1", port)))
    here.ports.dial(link)
    await until(lambda: here.member.seen() == ["opened"])
    here.ports.close_all()
    await until(lambda: there.member.seen() == ["accepted", "lost"])
    there.server.close()


def test_addresses_are_tried_in_turn() -> None:
    asyncio.run(_second_address())


async def _streaming() -> None:
    here, there = Place(), Place()
    port = await there.serve(QUORUM)
    link = Link(QUORUM, 2, (("127.0.0.1", port),))
    here.ports.dial(link)
    await until(lambda: here.member.seen() == ["opened"])
    link.streaming = True
    link.out.append(b"a slice")
    here.ports.send(link)
    await until(lambda: here.member.seen() == ["opened", "drained"])
    link.closing = True
    here.ports.close(link)
    await until(lambda: here.member.seen()[-1] == "lost")
    there.server.close()


def test_who_has_more_to_send_is_asked_for_it() -> None:
    asyncio.run(_streaming())


async def _given_up() -> None:
    here, there = Place(), Place()
    port = await there.serve(QUORUM)
    link = Link(QUORUM, 2, (("127.0.0.1", port),))
    here.ports.dial(link)
    link.closing = True
    await until(lambda: here.member.seen() == ["lost"])
    there.server.close()


def test_a_link_that_was_given_up_while_it_was_dialled_is_not_opened() -> None:
    asyncio.run(_given_up())


def _tls(authority: Authority, name: str, *hosts: str, **settings: Any) -> MemberTLS:
    """What a member does whose certificate is for these hosts, in an ensemble on loopback."""
    config = Config(
        data_dir="/data",
        ensemble=Ensemble.parse("server.1=127.0.0.1:1:2\nserver.2=127.0.0.1:3:4"),
        server_id=1,
        quorum_tls=True,
        quorum_key_store=str(authority.issue(name, *hosts)),
        quorum_trust_store=str(authority.trust),
    )
    return MemberTLS(replace(config, **settings))


async def _meet(here: Place, there: Place) -> Link:
    port = await there.serve(QUORUM)
    link = Link(QUORUM, 2, (("127.0.0.1", port),))
    here.ports.dial(link)
    await until(lambda: bool(here.member.told))
    return link


async def _over_tls(here: Place, there: Place) -> None:
    link = await _meet(here, there)
    link.out.append(b"hello")
    here.ports.send(link)
    await until(lambda: there.member.seen() == ["accepted", "heard"])
    here.ports.close(link)
    await until(lambda: there.member.seen()[-1] == "lost")
    there.server.close()


def test_members_prove_themselves_to_each_other(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def main() -> None:
        await _over_tls(Place(_tls(authority, "1")), Place(_tls(authority, "2")))

    asyncio.run(main())


def test_who_hears_both_hears_the_clear_too(tmp_path: Path) -> None:
    authority = Authority(tmp_path)

    async def main() -> None:
        both = _tls(authority, "2", quorum_port_unified=True, quorum_tls=False)
        assert both.dialling() is None
        await _over_tls(Place(_tls(authority, "1")), Place(both))
        await _over_tls(Place(), Place(both))

    asyncio.run(main())


async def _refused(here: Place, there: Place) -> None:
    await _meet(here, there)
    await until(lambda: here.member.seen()[-1] == "lost")
    assert there.member.told == []
    there.server.close()


def test_who_dials_and_is_at_no_server_line_is_refused(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)
    stranger = _tls(authority, "1", "stranger.example")

    async def main() -> None:
        await _refused(Place(stranger), Place(_tls(authority, "2")))
        assert caplog.messages[0].endswith(": its certificate is for no host of a server line")
        lenient = _tls(authority, "2", quorum_client_host_names=False)
        await _over_tls(Place(stranger), Place(lenient))

    asyncio.run(main())


def test_who_is_dialled_and_is_another_is_refused_and_told_of_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)

    async def main() -> None:
        here, there = Place(_tls(authority, "1")), Place(_tls(authority, "2", "other.example"))
        port = await there.serve(ELECTION)
        for count in (1, 2):
            here.ports.dial(Link(ELECTION, 2, (("127.0.0.1", port),)))
            await until(lambda: here.member.seen() == ["lost"] * count)  # noqa: B023
        (said,) = [text for text in caplog.messages if "no TLS with server 2" in text]
        assert f"at 127.0.0.1:{port}: its certificate is refused: " in said
        lenient = Place(_tls(authority, "1", quorum_host_names=False))
        lenient.ports.dial(Link(ELECTION, 2, (("127.0.0.1", port),)))
        await until(lambda: there.member.seen() == ["accepted"])
        there.server.close()

    asyncio.run(main())


async def _answered(here: Place, there: Place, kind: str, port: int) -> None:
    """Dial who takes this member, and hears that: by an answer, or by an end in order."""
    await there.serve(kind, port)
    link = Link(kind, 2, (("127.0.0.1", port),))
    before = len(here.member.told)
    here.ports.dial(link)
    await until(lambda: there.member.seen() == ["accepted"])
    (_, other, _) = there.member.told[0]
    if kind == ELECTION:
        there.ports.close(other)
    else:
        other.out.append(b"hello")
        there.ports.send(other)
        await until(lambda: here.member.seen()[before:] == ["opened", "heard"])
        here.ports.abort_all()
    await until(lambda: here.member.seen()[-1] == there.member.seen()[-1] == "lost")
    there.server.close()


@pytest.mark.parametrize("kind", [QUORUM, ELECTION])
def test_what_comes_back_after_all_was_well_is_told_again(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    authority = Authority(tmp_path)

    async def main() -> None:
        here, port = Place(_tls(authority, "1")), 0
        for told in (1, 2):
            there = Place(_tls(authority, "2", "other.example"))
            port = await there.serve(kind, port)
            for _ in range(2):
                before = len(here.member.told)
                here.ports.dial(Link(kind, 2, (("127.0.0.1", port),)))
                await until(lambda: here.member.seen()[before:] == ["lost"])  # noqa: B023
            there.server.close()
            said = [text for text in caplog.messages if "no TLS with server 2" in text]
            assert len(said) == told
            await _answered(here, Place(_tls(authority, "3")), kind, port)

    asyncio.run(main())


def _refuse(listener: socket.socket, context: ssl.SSLContext, times: int) -> None:
    """Refuse who dials by an alert, as servers in Java do."""
    for _ in range(times):
        with pytest.raises(ssl.SSLError):
            context.wrap_socket(listener.accept()[0], server_side=True)


def test_who_is_refused_behind_the_handshake_tells_it_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """With TLS 1.3 the side that dials is done before the other has looked at its certificate."""
    authority, another = Authority(tmp_path / "one"), Authority(tmp_path / "another")
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority.issue("2"))
    context.load_verify_locations(authority.trust)
    context.verify_mode = ssl.CERT_REQUIRED

    async def main(listener: socket.socket, closed: int) -> None:
        here = Place(_tls(another, "1", quorum_trust_store=str(authority.trust)))
        refusing = asyncio.create_task(asyncio.to_thread(_refuse, listener, context, 3))
        port = listener.getsockname()[1]
        for count in (1, 2, 3):
            # Its first address is not where it is refused.
            here.ports.dial(Link(QUORUM, 2, (("127.0.0.1", closed), ("127.0.0.1", port))))
            await until(lambda: here.member.seen() == ["opened", "lost"] * count)  # noqa: B023
        await refusing
        (said,) = [text for text in caplog.messages if "no TLS with server 2" in text]
        assert said.startswith(f"no TLS with server 2 at 127.0.0.1:{port}: ")

    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.settimeout(5)
        with socket.create_server(("127.0.0.1", 0)) as unused:
            closed = unused.getsockname()[1]
        asyncio.run(main(listener, closed))


def test_who_hears_tls_only_refuses_the_clear(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    authority = Authority(tmp_path)

    async def main() -> None:
        here, there = Place(), Place(_tls(authority, "2"))
        link = await _meet(here, there)
        link.out.append(b"hello, in the clear")
        here.ports.send(link)
        await until(lambda: here.member.seen()[-1] == "lost")
        assert there.member.told == []
        there.server.close()

    asyncio.run(main())
    assert caplog.messages[0].endswith(": it does not speak TLS")


_INITIAL = Initial(1, (("127.0.0.1", 3888),)).encode()


async def _by_sasl(here: Place, there: Place, kind: str) -> None:
    port = await there.serve(kind)
    link = Link(kind, 2, (("127.0.0.1", port),))
    here.ports.dial(link)
    await until(lambda: here.member.seen() == ["opened"])
    link.open = True
    link.out += [_INITIAL, b"and more"] if kind == ELECTION else [b"hello"]
    sent = b"".join(link.out)
    here.ports.send(link)
    await until(lambda: b"".join(data for _, _, data in there.member.told) == sent)
    assert there.member.seen()[:2] == ["accepted", "heard"]
    here.ports.close(link)
    await until(lambda: here.member.seen()[-1] == there.member.seen()[-1] == "lost")
    assert not there.ports.strangers
    assert not here.ports.protocols
    there.server.close()


def test_members_prove_a_password_before_anything_is_heard(tmp_path: Path) -> None:
    known = sasl(tmp_path / "jaas", jaas())

    async def main() -> None:
        for kind in (QUORUM, ELECTION):
            await _by_sasl(Place(sasl=known), Place(sasl=known), kind)

    asyncio.run(main())


def test_the_proof_is_within_tls(tmp_path: Path) -> None:
    authority, known = Authority(tmp_path), sasl(tmp_path / "jaas", jaas())

    async def main() -> None:
        here, there = (Place(_tls(authority, name), known) for name in "12")
        await _by_sasl(here, there, QUORUM)

    asyncio.run(main())


async def _who_says_who_it_is_and_waits(here: Place, there: Place) -> None:
    port = await there.serve(ELECTION)
    link = Link(ELECTION, 2, (("127.0.0.1", port),))
    here.ports.dial(link)
    await until(lambda: here.member.seen() == ["opened"])
    link.out.append(_INITIAL)
    here.ports.send(link)
    link.closing = True
    here.ports.close(link)
    await until(lambda: there.member.seen() == ["accepted", "heard", "lost"])
    await until(lambda: here.member.seen() == ["opened", "lost"])
    there.server.close()


def test_who_is_to_be_dialled_back_proves_itself_before_it_leaves(tmp_path: Path) -> None:
    known = sasl(tmp_path / "jaas", jaas())
    lenient = sasl(tmp_path / "jaas", jaas(), demanded=False)

    async def main() -> None:
        await _who_says_who_it_is_and_waits(Place(sasl=known), Place(sasl=known))
        await _who_says_who_it_is_and_waits(Place(), Place(sasl=lenient))

    asyncio.run(main())


@pytest.mark.parametrize("kind", [QUORUM, ELECTION])
def test_who_has_another_password_is_refused_and_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, kind: str
) -> None:
    known, other = sasl(tmp_path / "jaas", jaas()), sasl(tmp_path / "other", jaas("other"))

    async def main() -> None:
        here, there = Place(sasl=other), Place(sasl=known)
        port = await there.serve(kind)
        for count in (1, 2):
            link = Link(kind, 2, (("127.0.0.1", port),))
            here.ports.dial(link)
            if kind == ELECTION:
                await until(lambda: here.member.seen()[-1:] == ["opened"])
                link.out.append(_INITIAL)
                here.ports.send(link)
            await until(lambda: here.member.seen().count("lost") == count)  # noqa: B023
        assert there.member.told == []
        there.server.close()

    asyncio.run(main())
    why = "wrong user or password"
    here_said, there_said = sorted(caplog.messages, key=lambda line: "server 2" not in line)
    assert here_said.startswith("no SASL with server 2 at 127.0.0.1:")
    assert there_said.startswith("no SASL with 127.0.0.1:")
    assert here_said.endswith(why)
    assert there_said.endswith(why)


def test_who_proves_nothing_is_refused_where_that_is_demanded(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        here, there = Place(), Place(sasl=sasl(tmp_path / "jaas", jaas()))
        link = await _meet(here, there)
        link.out.append(b"hello")
        here.ports.send(link)
        await until(lambda: here.member.seen()[-1] == "lost")
        assert there.member.told == []
        there.server.close()

    asyncio.run(main())
    assert caplog.messages[0].endswith("does not prove who it is, and serverRequireSasl is true")


def test_a_member_that_knows_no_sasl_is_told_of(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        here, there = Place(sasl=sasl(tmp_path / "jaas", jaas())), Place()
        port = await there.serve(QUORUM)
        here.ports.dial(Link(QUORUM, 2, (("127.0.0.1", port),)))
        await until(lambda: there.member.seen() == ["accepted", "heard"])
        there.ports.close(there.member.told[0][1])
        await until(lambda: here.member.seen() == ["lost"])
        there.server.close()

    asyncio.run(main())
    assert caplog.messages[0].endswith("it ended the connection before it had proved itself")


def test_strangers_are_kept_for_so_long_and_so_many(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_STRANGERS_MAX", 2)

    async def main() -> None:
        here, there = Place(), Place(sasl=sasl(tmp_path / "jaas", jaas()))
        port = await there.serve(QUORUM)
        for count in (1, 2, 3):
            here.ports.dial(Link(QUORUM, 2, (("127.0.0.1", port),)))
            await until(lambda: here.member.seen().count("opened") == count)  # noqa: B023
        await until(lambda: here.member.seen().count("lost") == 1)
        await until(lambda: len(there.ports.strangers) == 2)
        monkeypatch.setattr(peers, "_INTRODUCTION_S_MAX", 0.01)
        here.ports.dial(Link(QUORUM, 2, (("127.0.0.1", port),)))
        await until(lambda: here.member.seen().count("lost") == 3)
        assert there.member.told == []
        there.ports.abort_all()
        await until(lambda: here.member.seen().count("lost") == 4)
        there.server.close()

    asyncio.run(main())


def test_who_says_nothing_is_let_in_where_nothing_is_demanded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(peers, "_SILENCE_S_MAX", 0.01)

    async def main() -> None:
        lenient = sasl(tmp_path / "jaas", jaas(), demanded=False)
        here, there = Place(), Place(sasl=lenient)
        await _meet(here, there)
        await until(lambda: there.member.seen() == ["accepted"])
        there.ports.close_all()
        await until(lambda: here.member.seen()[-1] == "lost")
        there.server.close()

    asyncio.run(main())
