"""Four-letter words: the results of the admin commands in ZooKeeper's text.

A client sends four bytes where its first packet would be; the server answers with text and
closes. The words are those of Apache's `FourLetterCommands`, with its whitelist; the shapes are
its own, since monitors parse them.
"""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import Final

from coterie.admin.commands import (
    BUILT,
    COMMANDS,
    LEARNERS,
    VERSION,
    Result,
    Status,
    every_connection,
)

EVERY_WORD: Final = "*"
_TELNET_INTERRUPT: Final = b"\xff\xf4\xff\xfd"
_TRACE_WORDS: Final = ("gtmk", "stmk")
_TRACE_MASK: Final = 306
"""Apache's default. There is no such tracing here, so setting it changes nothing else."""

_ALWAYS: Final = frozenset({"ruok", "envi", "isro"})
_NOT_SERVING: Final = b"This ZooKeeper instance is not currently serving requests\n"
"""What a member says that has no leader, as Apache's does."""


class Words:
    """Answers four-letter words from the status that `source` gives."""

    def __init__(self, source: Callable[[], Status], whitelist: Collection[str]) -> None:
        self._source = source
        self._whitelist = whitelist
        self._trace_mask = _TRACE_MASK

    def answer(self, data: bytes) -> bytes | None:
        """What the connection that begins with `data` is told; None if that is no word."""
        if data[:4] == _TELNET_INTERRUPT:
            return _refusal("telnet close")
        word = data[:4].decode("latin-1")
        if word not in _WORDS and word not in _TRACE_WORDS:
            return None
        if word not in self._whitelist and EVERY_WORD not in self._whitelist:
            return _refusal(word)
        if word in _WORDS:
            status = self._source()
            if word not in _ALWAYS and not status.member.server.serving:
                return _NOT_SERVING
            return _WORDS[word](status).encode()
        if word == "stmk" and len(data) >= 12:
            self._trace_mask = int.from_bytes(data[4:12], "big", signed=True)
        return str(self._trace_mask).encode()


def _refusal(word: str) -> bytes:
    return f"{word} is not executed because it is not in the whitelist.\n".encode()


def _run(name: str, status: Status) -> Result:
    return COMMANDS[name](status)


def _conf(status: Status) -> str:
    fields = _run("configuration", status)
    sizes = _run("dirs", status)
    secure_port = status.config.secure_port
    return (
        f"clientPort={fields['client_port']}\n"
        f"secureClientPort={-1 if secure_port is None else secure_port}\n"
        f"dataDir={fields['data_dir']}\n"
        f"dataDirSize={sizes['datadir_size']}\n"
        f"dataLogDir={fields['data_log_dir']}\n"
        f"dataLogSize={sizes['logdir_size']}\n"
        f"tickTime={fields['tick_time']}\n"
        f"maxClientCnxns={fields['max_client_cnxns']}\n"
        f"minSessionTimeout={fields['min_session_timeout']}\n"
        f"maxSessionTimeout={fields['max_session_timeout']}\n"
        f"clientPortListenBacklog={fields['client_port_listen_backlog']}\n"
        f"serverId={fields['server_id']}\n" + _membership(fields)
    )


def _membership(fields: Result) -> str:
    if "membership" not in fields:
        return ""
    return (
        f"initLimit={fields['init_limit']}\n"
        f"syncLimit={fields['sync_limit']}\n"
        f"electionAlg={fields['election_alg']}\n"
        f"electionPort={fields['election_port']}\n"
        f"quorumPort={fields['quorum_port']}\n"
        f"peerType={fields['peer_type']}\n"
        f"membership: \n{fields['membership']}"
    )


def _brief(each: Result) -> str:
    return (
        f" /{each['remote_socket_address']}[{each['interest_ops']}]"
        f"(queued={each['outstanding_requests']},recved={each['packets_received']}"
        f",sent={each['packets_sent']}"
    )


def _whole(each: Result) -> str:
    line = _brief(each)
    if each["session_id"]:
        cxid = f",lcxid={each['last_cxid']:#x}" if each["last_cxid"] >= 0 else ""
        line += (
            f",sid={_hex(each['session_id'])},lop={each['last_operation']}"
            f",est={each['established']},to={each['session_timeout']}{cxid}"
            f",lzxid={_hex(each['last_zxid'])},lresp={each['last_response_time']}"
            f",llat={each['last_latency']},minlat={each['min_latency']}"
            f",avglat={each['avg_latency']},maxlat={each['max_latency']}"
        )
    return line


def _cons(status: Status) -> str:
    lines = [f"{_whole(each)})\n" for each in every_connection(status)]
    return "".join(lines) + "\n"


def _crst(status: Status) -> str:
    _run("connection_stat_reset", status)
    return "Connection stats reset.\n"


def _srst(status: Status) -> str:
    _run("stat_reset", status)
    return "Server stats reset.\n"


def _dirs(status: Status) -> str:
    sizes = _run("dirs", status)
    return f"datadir_size: {sizes['datadir_size']}\nlogdir_size: {sizes['logdir_size']}\n"


def _dump(status: Status) -> str:
    result = _run("dump", status)
    owners = result["session_id_to_ephemeral_paths"]
    out = ["SessionTracker dump:\n"]
    if status.member.mode in LEARNERS:
        timeouts = result["global_session_timeouts"]
        out.append(f"Global Sessions({len(timeouts)}):\n")
        out += [f"{_hex(session_id)}\t{ms}ms\n" for session_id, ms in timeouts.items()]
    else:
        by_expiry = result["expiry_time_to_session_ids"]
        lines = {due_ms: list(map(_hex, ids)) for due_ms, ids in by_expiry.items()}
        out.append(_expiring("Session", lines, status))
    out.append(f"ephemeral nodes dump:\nSessions with Ephemerals ({len(owners)}):\n")
    for session_id, paths in owners.items():
        out.append(f"{_hex(session_id)}:\n")
        out += [f"\t{path}\n" for path in paths]
    by_expiry = result["expiry_time_to_connections"]
    lines = {due_ms: list(map(_peer, each)) for due_ms, each in by_expiry.items()}
    return "".join([*out, "Connections dump:\n", _expiring("Connections", lines, status)])


def _peer(each: Result) -> str:
    return f"ip: /{each['remote_socket_address']} sessionId: {_hex(each['session_id'])}"


def _expiring(what: str, lines: dict[int, list[str]], status: Status) -> str:
    out = [f"{what} Sets ({len(lines)})/({sum(map(len, lines.values()))}):\n"]
    for due_ms, each in lines.items():
        out.append(f"{len(each)} expire at {status.show_time(due_ms)}:\n")
        out += [f"\t{line}\n" for line in each]
    return "".join(out)


def _envi(status: Status) -> str:
    pairs = _run("environment", status).items()
    return "Environment:\n" + "".join(f"{key}={value}\n" for key, value in pairs)


def _hash(status: Status) -> str:
    return "".join(
        f"{entry['zxid']:x}: {entry['digest']}\n" for entry in _run("hash", status)["digests"]
    )


def _isro(status: Status) -> str:
    result = _run("is_read_only", status)
    if not result["is_serving"]:
        return "null"
    return "ro" if result["read_only"] else "rw"


def _mntr(status: Status) -> str:
    values = _run("monitor", status).items()
    return "".join(f"zk_{name}\t{value}\n" for name, value in values)


def _ruok(status: Status) -> str:
    return "imok"


def _version(status: Status) -> str:
    line = f"Zookeeper version: {VERSION}, built on {BUILT}\n"
    if _run("is_read_only", status)["read_only"]:
        line += "READ-ONLY mode; serving only read-only clients\n"
    return line


def _stats(status: Status) -> str:
    result = _run("server_stats", status)
    stats = result["server_stats"]
    return (
        f"Latency min/avg/max: {stats['min_latency']}/{stats['avg_latency']}"
        f"/{stats['max_latency']}\n"
        f"Received: {stats['packets_received']}\n"
        f"Sent: {stats['packets_sent']}\n"
        f"Connections: {stats['num_alive_client_connections']}\n"
        f"Outstanding: {stats['outstanding_requests']}\n"
        f"Zxid: {_hex(stats['last_processed_zxid'])}\n"
        f"Mode: {stats['server_state']}\n"
        f"Node count: {result['node_count']}\n"
    )


def _srvr(status: Status) -> str:
    return _version(status) + _stats(status)


def _stat(status: Status) -> str:
    clients = "".join(f"{_brief(each)})\n" for each in every_connection(status))
    return f"{_version(status)}Clients:\n{clients}\n{_stats(status)}"


def _wchs(status: Status) -> str:
    result = _run("watch_summary", status)
    return (
        f"{result['num_connections']} connections watching {result['num_paths']} paths\n"
        f"Total watches:{result['num_total_watches']}\n"
    )


def _wchc(status: Status) -> str:
    watched = _run("watches", status)["session_id_to_watched_paths"]
    lines = [
        f"{_hex(session_id)}\n" + "".join(f"\t{path}\n" for path in paths)
        for session_id, paths in watched.items()
    ]
    return "".join(lines) + "\n"


def _wchp(status: Status) -> str:
    watched = _run("watches_by_path", status)["path_to_session_ids"]
    lines = [
        f"{path}\n" + "".join(f"\t{_hex(session_id)}\n" for session_id in sessions)
        for path, sessions in watched.items()
    ]
    return "".join(lines) + "\n"


def _hex(value: int) -> str:
    """As Java prints a long in hex: of its 64 bits, without a sign."""
    return hex(value % 2**64)


_WORDS: Final[dict[str, Callable[[Status], str]]] = {
    "conf": _conf,
    "cons": _cons,
    "crst": _crst,
    "dirs": _dirs,
    "dump": _dump,
    "envi": _envi,
    "hash": _hash,
    "isro": _isro,
    "mntr": _mntr,
    "ruok": _ruok,
    "srst": _srst,
    "srvr": _srvr,
    "stat": _stat,
    "wchc": _wchc,
    "wchp": _wchp,
    "wchs": _wchs,
}
