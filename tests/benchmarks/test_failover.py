"""Which write ends a standstill, and that the killed leader is started again in any case."""

from __future__ import annotations

import socket
import threading
from types import SimpleNamespace
from typing import cast

import pytest

from benchmarks import failover, protocol
from benchmarks.ensembles import Ensemble
from benchmarks.failover import FailoverError, Load, Writer, Written, fail_over, first_since


def test_a_write_that_was_under_way_ends_no_standstill() -> None:
    one = [Written(1.0, 1.1), Written(4.9, 5.1), Written(5.2, 6.5)]
    other = [Written(2.0, 2.1), Written(6.0, 6.3), Written(6.4, 6.6)]
    assert first_since([one, other], 5.0) == 6.3
    assert first_since([one, other], 6.4) is None
    assert first_since([[], []], 0.0) is None


def test_a_writer_opens_a_session_anew_when_it_is_cut_off() -> None:
    reply = protocol.set_data_reply(1)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]

        def answer_once() -> None:
            for _ in range(3):
                with listener.accept()[0] as connection:
                    connection.recv(100)
                    connection.sendall(protocol.connect_reply())
                    connection.recv(2000)
                    connection.sendall(reply)

        thread = threading.Thread(target=answer_once, daemon=True)
        thread.start()
        writer = Writer(port, 0)
        writer.start()
        thread.join(10)
        writer.stop()
    assert not thread.is_alive()
    assert len(writer.written) >= 2
    assert all(write.sent_at <= write.answered_at for write in writer.written)


class Leader:
    """Killed, it takes some time until the others write again."""

    def __init__(self) -> None:
        self.did: list[str] = []

    def kill(self) -> None:
        self.did.append("killed")

    def start(self) -> None:
        self.did.append("started")


@pytest.fixture
def leader(monkeypatch: pytest.MonkeyPatch) -> Leader:
    monkeypatch.setattr(Load, "__enter__", lambda self: self)
    monkeypatch.setattr(Load, "__exit__", lambda *_: None)
    monkeypatch.setattr(Load, "all_write", lambda _: None)
    monkeypatch.setattr(failover, "_PATIENCE_S", 0.0)
    return Leader()


def _ensemble(leader: Leader) -> Ensemble:
    members = SimpleNamespace(ports=[1, 2, 3], title="All", leader=lambda: leader)
    return cast("Ensemble", members)


def test_the_time_is_from_the_kill_to_the_answer(
    leader: Leader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Load, "first_since", lambda _, moment: moment + 1.5)
    assert fail_over(_ensemble(leader)) == pytest.approx(1.5)
    assert leader.did == ["killed", "started"]


def test_an_ensemble_that_does_not_go_on_is_named(
    leader: Leader, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Load, "first_since", lambda *_: None)
    with pytest.raises(FailoverError, match="All commits nothing after its leader"):
        fail_over(_ensemble(leader))
    assert leader.did == ["killed", "started"]


def test_the_writers_are_spread_over_the_members() -> None:
    writers = Load(_ensemble(Leader())).writers
    assert [writer._port for writer in writers] == [1, 2, 3] * failover.WRITERS_EACH
    assert len({writer._path for writer in writers}) == len(writers)
