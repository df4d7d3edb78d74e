"""Every setting once: its zoo.cfg key, unit, default and meaning; text in, `Config` out.

Rules: an attribute of `Config` carries its own `Setting`, so the reader, the defaults and the
reference in the documentation are one table. The text is a Java properties file, as Apache's
zoo.cfg is. A key that is not in the table is either one of Apache's that changes nothing here,
which gives a notice, or an error: whoever starts a server gets what the file says or is told
otherwise. Where Apache takes a value that it cannot read for the default, this is an error too.
Nothing is read from the environment, and no file is opened.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from ipaddress import ip_address
from typing import Annotated, Any, Final, get_type_hints

_INT_MAX: Final = 2**31 - 1
_EVERY_WORD: Final = "*"


class ConfigError(Exception):
    """What the operator wrote cannot be served: which line and key, why, and what is allowed."""

    def __init__(self, reason: str, *, key: str | None = None, line: int | None = None) -> None:
        self.reason = reason
        self.key = key
        self.line = line
        where = [f"line {line}"] if line is not None else []
        super().__init__(": ".join([*where, *([key] if key else []), reason]))


@dataclass(frozen=True, slots=True)
class Kind:
    """How a value is written in the file: `read` raises `ValueError` for what is not `allowed`."""

    allowed: str
    read: Callable[[str], object]
    show: Callable[[Any], str] = str


def _whole(text: str) -> int:
    if not re.fullmatch(r"[+-]?[0-9]{1,18}", text):
        raise ValueError(text)
    return int(text)


def _number(low: int, high: int = _INT_MAX, unit: str = "", scale: int = 1) -> Kind:
    """A whole number of `unit`, kept multiplied by `scale`."""

    def read(text: str) -> int:
        number = _whole(text)
        if not low <= number <= high:
            raise ValueError(text)
        return number * scale

    of_unit = f" of {unit}" if unit else ""
    return Kind(
        f"a whole number{of_unit} from {low} to {high}", read, lambda value: str(value // scale)
    )


def _flag(true: str, false: str) -> Kind:
    words = {true: True, false: False}

    def read(text: str) -> bool:
        if text.lower() not in words:
            raise ValueError(text)
        return words[text.lower()]

    return Kind(f"{true} or {false}", read, lambda value: true if value else false)


def _read_text(text: str) -> str:
    if not text:
        raise ValueError(text)
    return text


def _read_hours(text: str) -> int:
    """Milliseconds of a time that is in hours if it bears no unit; not positive means never."""
    match = re.fullmatch(r"([+-]?[0-9]{1,10})(ms|s|m|h|d)?", text.lower())
    if not match:
        raise ValueError(text)
    unit_ms = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
    return max(0, int(match[1])) * unit_ms[match[2] or "h"]


def _read_words(text: str) -> frozenset[str]:
    """The words of a comma list. `srvr` is always one: Apache's zkServer.sh asks it."""
    words = {word.strip() for word in text.split(",")} - {""}
    if not all(word == _EVERY_WORD or re.fullmatch("[a-z]{4}", word) for word in words):
        raise ValueError(text)
    return frozenset(words | {"srvr"})


def _read_digest(text: str) -> str:
    """hashlib's name of a digest that Java knows as SHA1, SHA-256, SHA-512/256 or SHA3-256."""
    name = text.lower()
    name = name.replace("-", "_") if name.startswith("sha3") else name.replace("-", "")
    name = "sha1" if name == "sha" else name.replace("/", "_")
    if name.startswith("shake") or name not in hashlib.algorithms_available:
        raise ValueError(text)
    return name


def _read_super(text: str) -> str:
    if not re.fullmatch(r"[^:]+:[A-Za-z0-9+/]+={0,2}", text):
        raise ValueError(text)
    return text


_MS: Final = _number(1, unit="ms")
_COUNT: Final = _number(0)
_POSITIVE: Final = _number(1)
_PORT: Final = _number(0, 65535)
_LIMIT_KIB: Final = Kind(
    "a whole number of KiB, 0 or less for no limit",
    lambda text: max(0, _whole(text)) * 1024,
    lambda value: str(value // 1024),
)
_BACKLOG_DEFAULT: Final = 1024
_BACKLOG: Final = Kind(
    "a whole number, -1 for the default",
    lambda text: _BACKLOG_DEFAULT if _whole(text) < 0 else min(_whole(text), _INT_MAX),
)
_TEXT: Final = Kind("a name that is not empty", _read_text)
_TRUE_FALSE: Final = _flag("true", "false")
_YES_NO: Final = _flag("yes", "no")


@dataclass(frozen=True, slots=True)
class Setting:
    """One key of zoo.cfg. A number below `raised_to` counts as that and gives a notice."""

    key: str
    kind: Kind
    meaning: str
    raised_to: int | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Config:
    """What one server is told. The attributes that end in `_given` are for the reader only."""

    data_dir: Annotated[
        str, Setting("dataDir", _TEXT, "where snapshots are, in `version-2` below it")
    ]
    data_log_dir_given: Annotated[
        str | None, Setting("dataLogDir", _TEXT, "where the log is; unset: in dataDir")
    ] = None
    client_port: Annotated[
        int, Setting("clientPort", _PORT, "the port for clients; a file has to name it")
    ] = 2181
    client_port_address: Annotated[
        str,
        Setting(
            "clientPortAddress",
            _TEXT,
            "the address to listen at; unset in a file: every address, as in Apache's server; "
            "without a file: 127.0.0.1",
        ),
    ] = ""
    client_port_backlog: Annotated[
        int,
        Setting(
            "clientPortListenBacklog",
            _BACKLOG,
            "connections that may wait to be accepted; -1: the default",
        ),
    ] = _BACKLOG_DEFAULT
    tick_time_ms: Annotated[
        int, Setting("tickTime", _MS, "the unit of time of sessions; without a file: 2000")
    ] = 3000
    min_session_timeout_given_ms: Annotated[
        int,
        Setting(
            "minSessionTimeout",
            _number(-1, unit="ms"),
            "the shortest session timeout that a client gets; -1: two ticks",
        ),
    ] = -1
    max_session_timeout_given_ms: Annotated[
        int,
        Setting(
            "maxSessionTimeout",
            _number(-1, unit="ms"),
            "the longest session timeout that a client gets; -1: twenty ticks",
        ),
    ] = -1
    connections_per_ip_max: Annotated[
        int,
        Setting(
            "maxClientCnxns",
            _COUNT,
            "connections from one address; 0: no limit, as without a file, when all clients "
            "share one address",
        ),
    ] = 60
    connections_max: Annotated[
        int, Setting("maxCnxns", _COUNT, "connections in all; 0: no limit")
    ] = 0
    sessionless_timeout_ms: Annotated[
        int,
        Setting(
            "nio.sessionlessCnxnTimeout",
            _MS,
            "a connection that has no session after this time is closed",
        ),
    ] = 10_000
    frame_bytes_max: Annotated[
        int,
        Setting(
            "jute.maxbuffer",
            _number(1024, unit="bytes"),
            "the longest request, and so the largest znode, in bytes",
        ),
    ] = 1024 * 1024 - 1
    outstanding_max: Annotated[
        int,
        Setting(
            "globalOutstandingLimit",
            _POSITIVE,
            "requests that may wait for the log before no more are read from clients",
        ),
    ] = 1000
    snap_count: Annotated[
        int,
        Setting(
            "snapCount",
            _number(0),
            "a snapshot is taken after this many txns, less a random part of up to half",
            raised_to=2,
        ),
    ] = 100_000
    snap_log_bytes: Annotated[
        int,
        Setting(
            "snapSizeLimitInKb",
            _LIMIT_KIB,
            "a snapshot is taken after this much log (KiB), less a random part of up to half; "
            "0: no matter how much",
        ),
    ] = 4 * 1024**3
    log_bytes_max: Annotated[
        int,
        Setting(
            "txnLogSizeLimitInKb",
            _LIMIT_KIB,
            "a log file that is larger (KiB) is followed by a new one; 0: any size",
        ),
    ] = 0
    prealloc_bytes: Annotated[
        int,
        Setting(
            "preAllocSize",
            _number(0, unit="KiB", scale=1024),
            "log files grow by blocks of this size (KiB); 0: as they are written",
        ),
    ] = 65536 * 1024
    force_sync: Annotated[
        bool,
        Setting(
            "forceSync",
            _YES_NO,
            "whether a write is on the disk before it is acknowledged; `no` loses acknowledged "
            "writes when the machine stops",
        ),
    ] = True
    fsync_warning_ms: Annotated[
        int,
        Setting("fsync.warningthresholdms", _COUNT, "a sync that takes longer (ms) is logged"),
    ] = 1000
    trust_empty_snapshot: Annotated[
        bool,
        Setting(
            "snapshot.trust.empty",
            _TRUE_FALSE,
            "whether to start from logs alone when there is no snapshot at all",
        ),
    ] = False
    purge_retain_count: Annotated[
        int,
        Setting(
            "autopurge.snapRetainCount",
            _number(0),
            "snapshots that a purge keeps, with the logs that belong to them",
            raised_to=3,
        ),
    ] = 3
    purge_interval_ms: Annotated[
        int,
        Setting(
            "autopurge.purgeInterval",
            Kind(
                "a whole number, in hours or with ms, s, m, h or d behind it",
                _read_hours,
                lambda value: f"{value}ms" if value else "0",
            ),
            "time between purges, in hours unless it bears ms, s, m, h or d; 0: no purges",
        ),
    ] = 0
    four_letter_words: Annotated[
        frozenset[str],
        Setting(
            "4lw.commands.whitelist",
            Kind(
                "four-letter words with commas between them, or *",
                _read_words,
                lambda value: ",".join(sorted(value)),
            ),
            "the four-letter words that are answered; `*`: all, as without a file on a loopback "
            "address; `srvr` is answered always",
        ),
    ] = frozenset({"srvr"})
    skip_acl: Annotated[bool, Setting("skipACL", _YES_NO, "whether ACLs are not checked")] = False
    enforce_quota: Annotated[
        bool,
        Setting("enforceQuota", _TRUE_FALSE, "whether a write beyond a hard quota is refused"),
    ] = False
    extended_types_enabled: Annotated[
        bool,
        Setting(
            "extendedTypesEnabled",
            _TRUE_FALSE,
            "whether znodes may have a time to live; without a file: true",
        ),
    ] = False
    container_check_interval_ms: Annotated[
        int,
        Setting(
            "znode.container.checkIntervalMs",
            _MS,
            "time (ms) between searches for empty containers and TTL znodes past their time",
        ),
    ] = 60_000
    container_per_minute_max: Annotated[
        int, Setting("znode.container.maxPerMinute", _POSITIVE, "how many of them go in a minute")
    ] = 10_000
    container_never_used_ms: Annotated[
        int,
        Setting(
            "znode.container.maxNeverUsedIntervalMs",
            _COUNT,
            "a container that never had a child goes after this time (ms); 0: it stays",
        ),
    ] = 300_000
    digest_enabled: Annotated[
        bool,
        Setting(
            "digest.enabled",
            _TRUE_FALSE,
            "whether the log and snapshots carry a digest of the tree, which recovery compares",
        ),
    ] = True
    close_session_paths: Annotated[
        bool,
        Setting(
            "closeSessionTxn.enabled",
            _TRUE_FALSE,
            "whether the txn that closes a session names the znodes that it deletes",
        ),
    ] = True
    digest_auth_enabled: Annotated[
        bool,
        Setting(
            "DigestAuthenticationProvider.enabled",
            _TRUE_FALSE,
            "whether clients may authenticate with the digest scheme",
        ),
    ] = True
    digest_algorithm: Annotated[
        str,
        Setting(
            "DigestAuthenticationProvider.digestAlg",
            Kind("a digest such as SHA1, SHA-256 or SHA3-256", _read_digest, str.upper),
            "the digest of the digest scheme",
        ),
    ] = "sha1"
    super_digest: Annotated[
        str | None,
        Setting(
            "DigestAuthenticationProvider.superDigest",
            Kind("a user, a colon and the digest in base64", _read_super),
            "who is above every ACL, as `user:base64(digest(user:password))`; unset: nobody",
        ),
    ] = None

    @property
    def data_log_dir(self) -> str:
        """Where the log is."""
        return self.data_dir if self.data_log_dir_given is None else self.data_log_dir_given

    @property
    def min_session_timeout_ms(self) -> int:
        """The shortest session timeout that a client gets."""
        given_ms = self.min_session_timeout_given_ms
        return 2 * self.tick_time_ms if given_ms == -1 else given_ms

    @property
    def max_session_timeout_ms(self) -> int:
        """The longest session timeout that a client gets."""
        given_ms = self.max_session_timeout_given_ms
        return 20 * self.tick_time_ms if given_ms == -1 else given_ms


SETTINGS: Final[dict[str, tuple[str, Setting]]] = {
    hint.__metadata__[0].key: (attribute, hint.__metadata__[0])
    for attribute, hint in get_type_hints(Config, include_extras=True).items()
}
"""Key without prefix to the attribute of `Config` and its setting, in the order of the class."""

PREFIX: Final = "zookeeper."
"""What Apache calls the same settings by as system properties; allowed before any key."""

_NOTED: Final[dict[str, str]] = {
    "it is about an ensemble, and this server runs alone": """
        initLimit syncLimit connectToLearnerMasterLimit electionAlg peerType group. weight.
        standaloneEnabled reconfigEnabled quorumListenOnAllIPs syncEnabled observerMasterPort
        localSessionsEnabled localSessionsUpgradingEnabled sslQuorum sslQuorumReloadCertFiles
        portUnification quorum. multiAddress. oraclePath commitLogCount snapshotSizeFactor
        leaderServes fastleader. cnxTimeout quorumCnxnTimeoutMs electionPortBindRetry tcpKeepAlive
        leaderConnectDelayDuringRetryMs leader. learner. follower. observer. observerMaster.
        forceSnapshotSync readonlymode.enabled enableEagerACLCheck
        forward_learner_requests_to_commit_processor_disabled
    """,
    "it tunes parts of Apache's server that this one does not have": """
        flushDelay maxBatchSize maxWriteQueuePollTime commitProcessor. nio. netty.
        serverCnxnFactory intBufferStartingSizeBytes maxResponseCacheSize bitHashCacheSize
        maxGetChildrenResponseCacheSize watchManagerName watcherCleanIntervalInSeconds
        watcherCleanThreadsNum watcherCleanThreshold maxInProcessingDeadWatchers pathStats.
        messageTracker. jute.maxbuffer.extrasize serializeLastProcessedZxid.enabled jvm. fips-mode
        clientTcpKeepAlive
    """,
    "this version leaves overload to globalOutstandingLimit": """
        largeRequestMaxBytes largeRequestThreshold connection_throttle_* request_throttle_*
        request_stale_* request_throttler.shutdownTimeout throttled_op_wait_time
    """,
    "this version has no HTTP pages and no metrics exporter": """
        admin. metricsProvider.
    """,
    "this version writes no audit log": """
        audit.
    """,
    "this version has no TLS and no SASL: clients that need them are not let in": """
        ssl. client.portUnification client.certReload authProvider. sasl. kerberos. security.
        requireKerberosConfig superUser SASLAuthenticationProvider. X509AuthenticationProvider.
        IPAuthenticationProvider. letAnySaslUserDoX allowSaslFailedClients server.realm kinit
        ensembleAuthName enforce.auth.schemes
    """,
    "data directories are made when they are missing, and snapshots are not compressed": """
        datadir.autocreate db.autocreate snapshot.compression.method
    """,
}
"""Apache's keys that change nothing here, by the reason. A dot or a star ends a prefix of keys."""

_REFUSED: Final[dict[str, tuple[str | None, str]]] = {
    "secureClientPort": (None, "TLS is not served by this version yet"),
    "secureClientPortAddress": (None, "TLS is not served by this version yet"),
    "dynamicConfigFile": (None, "ensembles are not served by this version yet"),
    "enforce.auth.enabled": ("false", "this version cannot shut out who has not authenticated"),
    "sessionRequireClientSASLAuth": ("false", "SASL is not served by this version yet"),
    "emulate353TTLNodes": ("false", "TTL znodes are kept as ZooKeeper 3.5.4 and later keep them"),
}
"""Apache's keys that must not be passed over: the value that changes nothing, and the reason."""


def parse(text: str) -> tuple[Config, list[str]]:
    """The settings of a zoo.cfg, and what its reader should be told about them.

    Raises `ConfigError` for a key or value that cannot be served. The file is UTF-8, or Latin-1
    with escapes as Java has it; decoding it is the caller's.
    """
    values: dict[str, Any] = {}
    lines: dict[str, int] = {}
    notices: list[str] = []
    servers = 0
    for line, key, value in _entries(text):
        name = key.removeprefix(PREFIX)
        if name in SETTINGS:
            attribute, setting = SETTINGS[name]
            if attribute in values:
                notices.append(f"line {line}: {key} is set again, and the last line holds")
            values[attribute], notice = _read(setting, value, line)
            lines[attribute] = line
        elif re.fullmatch(r"server\.[0-9]+", key):
            servers += 1
            if servers > 1:
                reason = "ensembles are not served by this version yet: only one server.N may be"
                raise ConfigError(reason, key=key, line=line)
            notice = "is the only server, which runs alone"
        else:
            notice = _pass_over(name, value, line)
        if notice:
            notices.append(f"line {line}: {key} {notice}")
    for required in ("dataDir", "clientPort"):
        if SETTINGS[required][0] not in values:
            raise ConfigError("is not set", key=required)
    config = Config(**values)
    _check_bounds(config, lines)
    if not config.client_port_address:
        notices.append("clientPortAddress is not set: this listens at every address it has")
    return config, notices


def embedded_default(data_dir: str, host: str = "127.0.0.1", port: int = 2181) -> Config:
    """What is served without a zoo.cfg: one server for the machine that it runs on.

    On loopback only this machine's processes come in, all of them from one address: every
    four-letter word is answered, and connections are not limited by address.
    """
    config = Config(
        data_dir=data_dir,
        client_port=port,
        client_port_address=host,
        tick_time_ms=2000,
        extended_types_enabled=True,
    )
    if not _is_loopback(host):
        return config
    return replace(config, connections_per_ip_max=0, four_letter_words=frozenset({_EVERY_WORD}))


def reference() -> str:
    """The settings as Markdown tables, for the documentation."""
    required = Config(data_dir="")
    rows = ["| Key | Default | Meaning |", "|---|---|---|"]
    for key, (attribute, setting) in SETTINGS.items():
        value = getattr(required, attribute)
        default = f"`{setting.kind.show(value)}`" if value not in ("", None) else ""
        rows.append(f"| `{key}` | {default} | {setting.meaning} |")
    rows += ["", "| Apache's keys that change nothing here | Because |", "|---|---|"]
    for reason, keys in _NOTED.items():
        listed = ", ".join(
            f"`{key}*`" if key.endswith(".") else f"`{key}`" for key in keys.split()
        )
        rows.append(f"| {listed} | {reason} |")
    rows += ["", "| Apache's keys that are refused | Unless they say | Because |", "|---|---|---|"]
    for key, (harmless, reason) in _REFUSED.items():
        rows.append(f"| `{key}` | {f'`{harmless}`' if harmless else ''} | {reason} |")
    return "\n".join(rows) + "\n"


def _read(setting: Setting, text: str, line: int) -> tuple[object, str | None]:
    """The value of a setting, and what is to be said about it."""
    try:
        value = setting.kind.read(text)
    except ValueError:
        reason = f"{text!r} is not {setting.kind.allowed}"
        raise ConfigError(reason, key=setting.key, line=line) from None
    if setting.raised_to is not None and isinstance(value, int) and value < setting.raised_to:
        return setting.raised_to, f"is {value}, which counts as {setting.raised_to}, the least"
    return value, None


def _pass_over(name: str, value: str, line: int) -> str | None:
    """What is to be said about a key that is no setting, unless it is a `ConfigError`."""
    if name in _REFUSED:
        harmless, reason = _REFUSED[name]
        if value.lower() == harmless:
            return None
        raise ConfigError(reason, key=name, line=line)
    for reason, keys in _NOTED.items():
        for key in keys.split():
            prefix = key.removesuffix("*")
            if name == key or (prefix[-1] in "._" and name.startswith(prefix)):
                return f"is not used: {reason}"
    close = _closest(name)
    hint = f"; did you mean {close}?" if close else ""
    raise ConfigError(f"is not a key that Coterie or ZooKeeper knows{hint}", key=name, line=line)


def _closest(name: str) -> str | None:
    """The known key that `name` may be a slip of."""
    from difflib import get_close_matches  # for a mistake only: it is slow to import

    noted = [key for keys in _NOTED.values() for key in keys.split() if key[-1] not in ".*"]
    known = {key.lower(): key for key in [*SETTINGS, *_REFUSED, *noted]}
    found = get_close_matches(name.lower(), known, n=1)
    return known[found[0]] if found else None


def _check_bounds(config: Config, lines: dict[str, int]) -> None:
    """What no line can know by itself."""
    if config.min_session_timeout_ms > config.max_session_timeout_ms:
        given = "max_session_timeout_given_ms"
        raise ConfigError(
            f"{config.max_session_timeout_ms} ms is less than minSessionTimeout, "
            f"{config.min_session_timeout_ms} ms",
            key="maxSessionTimeout",
            line=lines.get(given, lines.get("min_session_timeout_given_ms")),
        )


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


_ENTRY: Final = re.compile(
    r"(?P<key>(?:[^\\=: \t\f]|\\.)*)[ \t\f]*[=:]?[ \t\f]*(?P<value>.*)", re.DOTALL
)
_ESCAPE: Final = re.compile(r"\\(?:u([0-9A-Fa-f]{4})|(.))", re.DOTALL)
_ESCAPED: Final = {"t": "\t", "n": "\n", "r": "\r", "f": "\f"}


def _entries(text: str) -> Iterator[tuple[int, str, str]]:
    """Number of the first line, key and value of every entry of a Java properties file.

    Key and value are stripped, as Apache does after reading: a blank behind a number is no error.
    """
    joined = ""
    start = 0
    for number, line in enumerate(re.split(r"\r\n|\r|\n", text), 1):
        part = line.lstrip(" \t\f")
        if not joined:
            if not part or part[0] in "#!":
                continue
            start = number
        backslashes = len(part) - len(part.rstrip("\\"))
        joined += part
        if backslashes % 2:
            joined = joined[:-1]
            continue
        yield start, *_split(joined, start)
        joined = ""
    if joined:
        yield start, *_split(joined, start)


def _split(entry: str, line: int) -> tuple[str, str]:
    match = _ENTRY.fullmatch(entry)
    assert match, "every text is a key, blank or not, and a value"
    if re.search(r"(?<!\\)(?:\\\\)*\\u(?![0-9A-Fa-f]{4})", entry):
        raise ConfigError(r"\u is not followed by four hexadecimal digits", line=line)
    key, value = (_ESCAPE.sub(_unescape, part).strip() for part in match.group("key", "value"))
    if not key:
        raise ConfigError(f"{entry!r} has no key", line=line)
    return key, value


def _unescape(match: re.Match[str]) -> str:
    code, letter = match.groups()
    return chr(int(code, 16)) if code else _ESCAPED.get(letter, letter)
