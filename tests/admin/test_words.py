"""Four-letter words in the shape in which Apache says them, held to what it really said."""

from __future__ import annotations

import re
import struct

import pytest

from coterie.admin.words import Words
from coterie.wire.requests import Op, WatchesRequest
from tests.admin.served import Served
from tests.golden.packets import HERE

_REFUSED = "{} is not executed because it is not in the whitelist.\n"
_ALL = (
    *("conf", "cons", "crst", "dirs", "dump", "envi", "gtmk", "hash", "isro", "mntr", "ruok"),
    *("srst", "srvr", "stat", "stmk", "wchc", "wchp", "wchs"),
)


def _words(served: Served, whitelist: set[str] | None = None) -> Words:
    return Words(served.status, {"*"} if whitelist is None else whitelist)


def _say(served: Served, word: str) -> str:
    answer = _words(served).answer(word.encode())
    assert answer is not None
    return answer.decode()


def _golden(word: str) -> str:
    return (HERE / f"{word}.txt").read_text()


def _shape(text: str) -> str:
    """A text with every number, address, path and time as a letter."""
    text = re.sub(r"expire at .*:", "expire at T:", text)
    text = re.sub(r"(Zookeeper version: ).*", r"\1V", text)
    text = re.sub(r"0x[0-9a-f]+|-?\d+\.\d\.\d\.\d:\d+", "X", text)
    text = re.sub(r"(?m)^(\t?)/.*", r"\1/P", text)
    text = re.sub(r"(data(?:Log)?Dir)=.*/version-2", r"\1=P", text)
    return re.sub(r"-?\d+(?:\.\d+)?(?:E-?\d+)?", "N", text)


@pytest.fixture
def served() -> Served:
    """As the server was when `tests/golden` was captured: a client with an ephemeral and watches,
    and somebody who asks."""
    made = Served()
    client = made.connect(4001)
    made.create(client, b"/a")
    made.create(client, b"/a/s", flags=1)
    made.get(client, b"/a", watch=True)
    made.stranger(4002)
    return made


@pytest.mark.parametrize(
    "word", ["conf", "crst", "dirs", "gtmk", "isro", "ruok", "srst", "srvr", "stmk", "wchs"]
)
def test_words_of_one_shape(served: Served, word: str) -> None:
    assert _shape(_say(served, word)) == _shape(_golden(word))


@pytest.mark.parametrize("word", ["crst", "gtmk", "isro", "ruok", "srst"])
def test_words_that_always_say_the_same(served: Served, word: str) -> None:
    assert _say(served, word) == _golden(word)


@pytest.mark.parametrize("word", ["cons", "stat"])
def test_words_with_a_line_for_each_connection(served: Served, word: str) -> None:
    """Connections come in any order, and Apache does not read from the one who asks."""
    ours, apaches = _shape(_say(served, word)), _shape(_golden(word))
    assert sorted(ours.splitlines()) == sorted(apaches.splitlines())
    assert ours.count("\n") == apaches.count("\n")
    assert ours.endswith(apaches[-3:])


def test_the_line_of_a_connection(served: Served) -> None:
    served.set(next(iter(served.member.server.connections)), b"/a", b"x", after_ms=3)
    first = _say(served, "cons").splitlines()[0]
    session_id = next(iter(served.member.sessions.by_id))
    assert first == (
        f" /127.0.0.1:4001[1](queued=0,recved=5,sent=5,sid={session_id:#x},lop=SETD,"
        f"est=1795539494000,to=30000,lcxid=0x4,lzxid=0x4,lresp=100003,llat=3,minlat=0,"
        f"avglat=0,maxlat=3)"
    )


def test_dump(served: Served) -> None:
    """Ours has one session where Apache's had two, of which one had no connection any more; and
    it does not tell of sets that are empty."""
    apaches = re.sub(r"0 expire at .*\n", "", _golden("dump"))
    apaches = _shape(apaches).replace("\tX\n\tX\n", "\tX\n", 1)
    assert _shape(_say(served, "dump")) == apaches


def test_dump_in_full(served: Served) -> None:
    session_id = next(iter(served.member.sessions.by_id))
    assert _say(served, "dump") == (
        "SessionTracker dump:\n"
        "Session Sets (1)/(1):\n"
        "1 expire at Tue Nov 24 16:58:46 UTC 2026:\n"
        f"\t{session_id:#x}\n"
        "ephemeral nodes dump:\n"
        "Sessions with Ephemerals (1):\n"
        f"{session_id:#x}:\n"
        "\t/a/s\n"
        "Connections dump:\n"
        "Connections Sets (2)/(2):\n"
        "1 expire at Tue Nov 24 16:58:24 UTC 2026:\n"
        "\tip: /127.0.0.1:4002 sessionId: 0x0\n"
        "1 expire at Tue Nov 24 16:58:46 UTC 2026:\n"
        f"\tip: /127.0.0.1:4001 sessionId: {session_id:#x}\n"
    )


def test_envi_begins_as_apaches_and_has_a_line_for_each_fact(served: Served) -> None:
    lines = _say(served, "envi").splitlines()
    assert lines[0] == _golden("envi").splitlines()[0] == "Environment:"
    assert [line.partition("=")[0] for line in lines[1:3]] == ["zookeeper.version", "host.name"]
    assert _say(served, "envi").endswith("\n")


def test_hash(served: Served) -> None:
    client = next(iter(served.member.server.connections))
    while served.member.tree.zxid < 128:
        served.set(client, b"/a", b"x")
    assert re.fullmatch(r"80: -?\d+\n", _golden("hash"))
    zxid, digest = served.member.tree.digests[0]
    assert _say(served, "hash") == f"{zxid:x}: {digest}\n"
    assert zxid == 0x80


def test_mntr_is_name_tab_value(served: Served) -> None:
    lines = _say(served, "mntr").splitlines()
    assert all(re.fullmatch(r"zk_[a-z0-9_]+\t[^\t]+", line) for line in lines)
    names = [line.partition("\t")[0] for line in lines]
    assert len(set(names)) == len(names)
    # What monitors look at (Nagios, collectd, Telegraf, the exporters).
    looked_at = (
        *("version", "server_state", "znode_count", "watch_count", "ephemerals_count"),
        *("approximate_data_size", "num_alive_connections", "outstanding_requests"),
        *("packets_received", "packets_sent", "avg_latency", "min_latency", "max_latency"),
        *("global_sessions", "open_file_descriptor_count", "uptime"),
    )
    wanted = {f"zk_{name}" for name in looked_at}
    assert wanted <= set(names)
    assert wanted <= set(_golden("mntr").split())
    assert names[:2] == _golden("mntr").split()[:2]


def _watching(served: Served) -> tuple[int, int]:
    one, two = served.connect(4003), served.connect(4004)
    for client, path in ((one, b"/a"), (one, b"/none"), (two, b"/none")):
        served.ask(client, Op.ADD_WATCH, WatchesRequest(path, 0).encode())
    return one.session_id, two.session_id


def test_watches_by_session_and_by_path() -> None:
    served = Served()
    one, two = _watching(served)
    assert _say(served, "wchc") == f"{one:#x}\n\t/a\n\t/none\n{two:#x}\n\t/none\n\n"
    assert _say(served, "wchp") == f"/a\n\t{one:#x}\n/none\n\t{one:#x}\n\t{two:#x}\n\n"
    assert _say(served, "wchs") == "2 connections watching 2 paths\nTotal watches:3\n"


@pytest.mark.parametrize("word", ["wchc", "wchp"])
def test_watches_have_apaches_shape(served: Served, word: str) -> None:
    lines = {_shape(line) for line in _golden(word).split("\n")}
    assert {_shape(line) for line in _say(served, word).split("\n")} == lines
    assert _golden(word).endswith("\n\n")
    assert _say(served, word).endswith("\n\n")


def test_nobody_watches_and_nobody_is_there() -> None:
    assert _say(Served(), "wchc") == _say(Served(), "wchp") == _say(Served(), "cons") == "\n"
    assert _say(Served(), "wchs") == "0 connections watching 0 paths\nTotal watches:0\n"
    assert _say(Served(), "hash") == ""


def test_resetting(served: Served) -> None:
    assert "Received: 4\n" in _say(served, "srvr")
    assert "recved=4," in _say(served, "cons")
    _say(served, "srst")
    assert "Received: 0\n" in _say(served, "srvr")
    assert "recved=4," in _say(served, "cons")
    _say(served, "crst")
    assert "recved=4," not in _say(served, "cons")


def test_the_trace_mask_is_kept() -> None:
    words = _words(Served())
    assert words.answer(b"gtmk") == b"306"
    assert words.answer(b"stmk" + struct.pack(">q", 5)) == b"5"
    assert words.answer(b"gtmk") == b"5"
    assert words.answer(b"stmk" + struct.pack(">q", -1)) == b"-1"
    assert words.answer(b"stmk" + b"\0\0\0") == b"-1", "a mask that is not whole changes nothing"


# Who may ask


@pytest.mark.parametrize("word", _ALL)
def test_what_is_not_in_the_whitelist_is_refused(served: Served, word: str) -> None:
    answer = _words(served, {"srvr"}).answer(word.encode())
    assert answer is not None
    assert (answer.decode() == _REFUSED.format(word)) == (word != "srvr")


@pytest.mark.parametrize("word", _ALL)
def test_what_is_in_the_whitelist_is_answered(served: Served, word: str) -> None:
    answer = _words(served, {word}).answer(word.encode())
    assert answer is not None
    assert b"whitelist" not in answer


def test_telnets_interrupt_is_a_word_that_is_refused() -> None:
    answer = _words(Served(), {"srvr"}).answer(b"\xff\xf4\xff\xfd\x06")
    assert answer == _REFUSED.format("telnet close").encode()


@pytest.mark.parametrize("data", [b"\0\0\0\x2d", b"ruo", b"RUOK", b"kill", b"xxxx", b"", b"\xff"])
def test_what_is_no_word_is_left_to_the_protocol(data: bytes) -> None:
    assert _words(Served()).answer(data) is None


def test_what_comes_behind_a_word_is_no_matter(served: Served) -> None:
    assert _words(served).answer(b"ruok\r\n") == b"imok"


# Members that do not serve


@pytest.mark.parametrize("word", _ALL)
def test_a_member_without_a_leader(served: Served, word: str) -> None:
    served.member.server.shut()
    answer = _say(served, word)
    expected = {"ruok": "imok", "isro": "null", "gtmk": "306", "stmk": "306"}
    if word == "envi":
        assert answer.startswith("Environment:\n")
    else:
        not_serving = "This ZooKeeper instance is not currently serving requests\n"
        assert answer == expected.get(word, not_serving)


def test_a_member_that_serves_reads_only(served: Served) -> None:
    served.member.server.read_only = True
    assert _say(served, "isro") == "ro"
    for word in ("srvr", "stat"):
        lines = _say(served, word).splitlines()
        assert lines[1] == "READ-ONLY mode; serving only read-only clients"


@pytest.mark.parametrize("mode", ["follower", "observer"])
def test_the_sessions_of_a_learner(
    served: Served, monkeypatch: pytest.MonkeyPatch, mode: str
) -> None:
    """Its leader watches over them."""
    monkeypatch.setattr(type(served.member), "mode", mode)
    session_id = next(iter(served.member.sessions.by_id))
    head = f"SessionTracker dump:\nGlobal Sessions(1):\n{session_id:#x}\t30000ms\nephemeral"
    assert _say(served, "dump").startswith(head)
