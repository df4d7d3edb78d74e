"""zoo.cfg: text in, `Config` out.

Rules: the text is a Java properties file, as Apache's zoo.cfg is. A key that is no setting
(`settings.py`) is either one of Apache's that changes nothing here, which gives a notice, or an
error: whoever starts a server gets what the file says or is told otherwise. Where Apache takes a
value that it cannot read for the default, this is an error too. Nothing is read from the
environment, and no file is opened: other files that belong to a zoo.cfg (the dynamicConfigFile,
`myid` in dataDir) are handed in by who opens them.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from ipaddress import IPv4Address, IPv6Address, ip_address
from typing import Any, Final

from coterie.ensemble import ID_MAX, Ensemble, EnsembleError, Seat
from coterie.kinds import EVERY_WORD, Setting
from coterie.properties import PropertiesError, entries
from coterie.settings import NO_PORT, SETTINGS, Config

__all__ = [
    "PREFIX",
    "SERVER_LINES",
    "SETTINGS",
    "Config",
    "ConfigError",
    "dynamic_config_file",
    "embedded_default",
    "parse",
    "reference",
    "with_server_id",
]


class ConfigError(Exception):
    """What the operator wrote cannot be served: which line and key, why, and what is allowed."""

    def __init__(self, reason: str, *, key: str | None = None, line: int | None = None) -> None:
        self.reason = reason
        self.key = key
        self.line = line
        where = [f"line {line}"] if line is not None else []
        super().__init__(": ".join([*where, *([key] if key else []), reason]))


PREFIX: Final = "zookeeper."
"""What Apache calls the same settings by as system properties; allowed before any key."""

SERVER_LINES: Final[dict[str, str]] = {
    "server.N": "member N: `host:quorumPort:electionPort`, `:observer` behind it for one that has "
    "no vote, then `;clientPort` or `;host:clientPort`; several addresses have a bar between them",
    "group.N": "the members of group N with `:` between them; a quorum is one of most groups",
    "weight.N": "what the vote of member N weighs in its group; 1 if it is not said",
}
"""The keys that make an ensemble, and what they say."""

_SERVER_LINE: Final = re.compile(r"(server|group|weight)\.[0-9]+")
_ALONE: Final = "it is about an ensemble, and this server runs alone"

_NOTED: Final[dict[str, str]] = {
    "members do without it here": """
        syncEnabled reconfigEnabled observerMasterPort localSessionsEnabled
        localSessionsUpgradingEnabled quorum.
        multiAddress. quorumCnxnTimeoutMs
        electionPortBindRetry tcpKeepAlive leader. learner. follower. observer. observerMaster.
        fastleader. forward_learner_requests_to_commit_processor_disabled
    """,
    "it tunes parts of Apache's server that this one does not have": """
        flushDelay maxBatchSize maxWriteQueuePollTime commitProcessor. nio. netty.
        serverCnxnFactory intBufferStartingSizeBytes maxResponseCacheSize bitHashCacheSize
        maxGetChildrenResponseCacheSize watchManagerName watcherCleanIntervalInSeconds
        watcherCleanThreadsNum watcherCleanThreshold maxInProcessingDeadWatchers pathStats.
        messageTracker. jute.maxbuffer.extrasize serializeLastProcessedZxid.enabled jvm. fips-mode
        clientTcpKeepAlive
    """,
    "who has too much that waits is not read here, so that no request waits in a queue": """
        largeRequestMaxBytes largeRequestThreshold request_throttle_* request_stale_*
        request_throttler.shutdownTimeout throttled_op_wait_time
    """,
    "there are no sessions here that only one member knows": """
        connection_throttle_local_session_weight
    """,
    "in a zoo.cfg its name is connection_throttle_..., for Apache's server as well": """
        connectionMaxTokens connectionTokenFillTime connectionTokenFillCount connectionFreezeTime
        connectionDropIncrease connectionDropDecrease connectionDecreaseRatio
    """,
    "over HTTP there are pages and metrics, and nothing is restored": """
        admin. metricsProvider.
    """,
    "the audit log is written by this server, as lines of JSON": """
        audit.
    """,
    "certificates are read anew whenever their files have changed": """
        client.certReload sslQuorumReloadCertFiles
    """,
    "TLS is that of this Python, and clients are known by their subjects, not by hosts": """
        ssl.authProvider ssl.sslProvider ssl.quorum.sslProvider ssl.hostnameVerification
        ssl.allowReverseDnsLookup ssl.quorum.allowReverseDnsLookup
    """,
    "schemes are built in, sasl where there are users or a keytab; tickets need no renewal": """
        authProvider. sasl. kerberos. security. requireKerberosConfig superUser.
        SASLAuthenticationProvider. IPAuthenticationProvider. server.realm kinit
        ensembleAuthName jaasLoginRenew
    """,
    "Apache's server demands nothing by it, either: sessionRequireClientSASLAuth does": """
        requireClientAuthScheme
    """,
    "data directories are made when they are missing, and snapshots are not compressed": """
        datadir.autocreate db.autocreate snapshot.compression.method
    """,
}
"""Apache's keys that change nothing here, by the reason. A dot or a star ends a prefix of keys."""

_REFUSED: Final[dict[str, tuple[str | None, str]]] = {
    "ssl.crl": ("false", "lists of revoked certificates are not looked at by this version"),
    "ssl.ocsp": ("false", "nobody is asked for revoked certificates by this version"),
    "ssl.quorum.crl": ("false", "lists of revoked certificates are not looked at by this version"),
    "ssl.quorum.ocsp": ("false", "nobody is asked for revoked certificates by this version"),
    "ssl.clientHostnameVerification": ("false", "clients are known by their subjects, not hosts"),
    "ssl.context.supplier.class": (None, "no class of Java makes contexts here"),
    "ssl.quorum.context.supplier.class": (None, "no class of Java makes contexts here"),
    "electionAlg": ("3", "3 is the only algorithm for elections"),
    "emulate353TTLNodes": ("false", "TTL znodes are kept as ZooKeeper 3.5.4 and later keep them"),
}
"""Apache's keys that must not be passed over: the value that changes nothing, and the reason."""

_REFUSED_TO_MEMBERS: Final[dict[str, tuple[str | None, str]]] = {
    "oraclePath": (None, "this version asks no oracle"),
}
"""As `_REFUSED`, for who runs alone a notice."""


def dynamic_config_file(text: str) -> str | None:
    """Which other file a zoo.cfg says the server lines are in, if any."""
    named = [value for _, key, value in _entries(text) if key == "dynamicConfigFile"]
    return named[-1] if named else None


def parse(text: str, dynamic: str | None = None) -> tuple[Config, list[str]]:
    """The settings of a zoo.cfg, and what its reader should be told about them.

    `dynamic` is what the file has in it that `dynamic_config_file` names. Raises `ConfigError` for
    a key or value that cannot be served. The files are UTF-8, or Latin-1 with escapes as Java has
    it; decoding them is the caller's.
    """
    reading = _Reading()
    for line, key, value in _entries(text):
        reading.take(line, key, value)
    if reading.values.get("dynamic_config_file") is not None:
        reading.take_dynamic(dynamic)
    alone = reading.settle_members()
    if "secure_port" in reading.values:
        reading.values.setdefault("client_port", NO_PORT)
    for required in ("dataDir", "clientPort"):
        if SETTINGS[required][0] not in reading.values:
            raise ConfigError("is not set", key=required)
    config = Config(**reading.values)
    if alone is not None:
        config = _with_seat(config, alone)
    _check_bounds(config, reading.lines)
    _check_access(config, reading.lines)
    _check_pages(config, reading)
    _check_metrics(config, reading.lines)
    _check_members_access(config, reading.lines)
    seats = config.ensemble.seats.values() if config.ensemble else ()
    plain = config.client_port != NO_PORT and not config.client_port_address
    if plain and not any(seat.client for seat in seats):
        reading.say(None, "clientPortAddress is not set: this listens at every address it has")
    return config, reading.notices()


class _Reading:
    """What was read so far of a zoo.cfg. A line is None where none is to blame."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.lines: dict[str, int] = {}
        """By attribute of `Config`, and by key for server lines."""
        self._members: dict[str, str] = {}
        self._of_ensemble: list[tuple[int, str, str]] = []
        """Line, key and value of what may be of no use, or must not be, by who is alone."""
        self._notices: list[tuple[int | None, str]] = []

    def say(self, line: int | None, notice: str) -> None:
        self._notices.append((line, notice))

    def notices(self) -> list[str]:
        """What is to be said, by lines."""
        placed = sorted((line, said) for line, said in self._notices if line is not None)
        others = [said for line, said in self._notices if line is None]
        return [f"line {line}: {said}" for line, said in placed] + others

    def take(self, line: int, key: str, value: str) -> None:
        name = key.removeprefix(PREFIX)
        if name in SETTINGS:
            attribute, setting = SETTINGS[name]
            if attribute in self.values:
                self.say(line, f"{key} is set again, and the last line holds")
            self.values[attribute], notice = _read(setting, value, line)
            self.lines[attribute] = line
            if notice:
                self.say(line, f"{key} {notice}")
            if setting.of_ensemble:
                self._of_ensemble.append((line, key, value))
        elif _SERVER_LINE.fullmatch(key):
            if key in self._members:
                self.say(line, f"{key} is set again, and the last line holds")
            self._members[key] = value
            self.lines[key] = line
        elif name in _REFUSED_TO_MEMBERS:
            self._of_ensemble.append((line, key, value))
        else:
            notice = _pass_over(name, value, line)
            if notice:
                self.say(line, f"{key} {notice}")

    def take_dynamic(self, text: str | None) -> None:
        """The server lines are in another file, and its name may end with their version."""
        file = self.values["dynamic_config_file"]
        for key in self._members:
            raise ConfigError(f"has to be in {file}", key=key, line=self.lines[key])
        if text is None:
            raise ConfigError(f"{file} was not read", key="dynamicConfigFile")
        try:
            members = {key: value for _, key, value in _entries(text)}
            for key in members:
                if not _SERVER_LINE.fullmatch(key):
                    raise ConfigError("has no place in a dynamicConfigFile", key=key)
        except ConfigError as error:
            raise ConfigError(f"{file}: {error}") from None
        self._members = members
        suffix = file.rpartition(".")[2]
        if re.fullmatch("[0-9a-fA-F]{1,16}", suffix):
            self._members["version"] = suffix

    def settle_members(self) -> Seat | None:
        """Find out whether this server is one of an ensemble, as Apache's server decides it.

        Returns what the only server line says, if there is one and its server runs alone.
        """
        ensemble = self._ensemble()
        alone = None
        if ensemble is not None and self._is_alone(ensemble):
            (alone,) = ensemble.seats.values()
            ensemble = None
        seats = ensemble.seats.values() if ensemble is not None else [alone]
        if all(seat is not None and seat.client is not None for seat in seats):
            self.values.setdefault("client_port", 0)
        if ensemble is None:
            self._say_alone(alone)
        else:
            self.values["ensemble"] = ensemble
            self._check_members(ensemble)
        return alone

    def _is_alone(self, ensemble: Ensemble) -> bool:
        if len(ensemble.voters) > 1 or not self.values.get("standalone_enabled", True):
            return False
        if ensemble.observers:
            key = f"server.{min(ensemble.observers)}"
            reason = "observers need more than one participant, or standaloneEnabled=false"
            raise ConfigError(reason, key=key, line=self.lines.get(key))
        return True

    def _check_members(self, ensemble: Ensemble) -> None:
        for line, key, value in self._of_ensemble:
            name = key.removeprefix(PREFIX)
            if name in _REFUSED_TO_MEMBERS:
                _refuse(name, value, line, _REFUSED_TO_MEMBERS)
        for key in ("initLimit", "syncLimit"):
            if SETTINGS[key][0] not in self.values:
                raise ConfigError("is not set, and an ensemble needs it", key=key)
        count = len(ensemble.voters)
        if count <= 2:
            self.say(None, "none of the participants may fail: that takes at least 3")
        elif count % 2 == 0:
            one_less = f"{count - 1} would bear as many failures"
            self.say(None, f"{count} participants are an even number: {one_less}")

    def _ensemble(self) -> Ensemble | None:
        if not any(key.startswith("server.") for key in self._members):
            if not self.values.get("standalone_enabled", True):
                raise ConfigError("is false, but there is no server line", key="standaloneEnabled")
            return None
        try:
            return Ensemble.of(self._members)
        except EnsembleError as error:
            file = self.values.get("dynamic_config_file")
            if file is not None:
                raise ConfigError(f"{file}: {error}") from None
            line = self.lines.get(error.key or "")
            raise ConfigError(error.reason, key=error.key, line=line) from None

    def _say_alone(self, alone: Seat | None) -> None:
        for key in self._members:
            if key == "version":
                continue
            what = f"is not used: {_ALONE}"
            if alone is not None and key.startswith("server."):
                what = "is the only server, which runs alone"
            self.say(self.lines.get(key), f"{key} {what}")
        for line, key, _ in self._of_ensemble:
            self.say(line, f"{key} is not used: {_ALONE}")


def with_server_id(config: Config, text: str) -> tuple[Config, list[str]]:
    """The settings of the member that `text`, its `myid` file, says it is; and what is to be said.

    Raises `ConfigError` where that member cannot be served.
    """
    assert config.ensemble is not None
    first = text.split("\n", 1)[0].strip()
    if not re.fullmatch(r"[0-9]{1,3}", first) or int(first) > ID_MAX:
        raise ConfigError(f"{first!r} is not a server's number: 0 to {ID_MAX}", key="myid")
    server_id = int(first)
    seat = config.ensemble.seats.get(server_id)
    if seat is None:
        known = ", ".join(map(str, config.ensemble.seats))
        raise ConfigError(f"there is no server.{server_id}, only {known}", key="myid")
    if config.extended_types_enabled and server_id == ID_MAX:
        reason = f"with extendedTypesEnabled a server's number is at most {ID_MAX - 1}"
        raise ConfigError(reason, key="myid")
    notices: list[str] = []
    if config.peer_type not in (None, seat.role):
        notices.append(f"peerType is not what server.{server_id} says: {seat.role.value} it is")
    return replace(_with_seat(config, seat), server_id=server_id), notices


def _with_seat(config: Config, seat: Seat) -> Config:
    """Listen to clients where the server line says it, or else the file's other lines.

    Where both do they have to agree, as in Apache's server; an address that stands for every one
    agrees with any. A name and an address may be the same, so they pass.
    """
    if seat.client is not None:
        host, port = _agreed(
            seat, seat.client, "clientPort", config.client_port_address, config.client_port
        )
        config = replace(config, client_port_address=host, client_port=port)
    if seat.secure is not None:
        given = config.secure_port or 0
        host, port = _agreed(
            seat, seat.secure, "secureClientPort", config.secure_port_address, given
        )
        config = replace(config, secure_port_address=host, secure_port=port)
    return config


def _agreed(
    seat: Seat, said: tuple[str, int], key: str, given_host: str, given_port: int
) -> tuple[str, int]:
    host, port = said
    given, address = _address(given_host), _address(host)
    same_host = given is None or address is None or given.is_unspecified or given == address
    if given_port not in (0, NO_PORT, port) or not same_host:
        raise ConfigError(
            f"clients are to connect to {host}:{port}, but {key}Address and {key} say "
            f"{given_host or '*'}:{given_port}",
            key=f"server.{seat.id}",
        )
    return said


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
    return replace(config, connections_per_ip_max=0, four_letter_words=frozenset({EVERY_WORD}))


def reference() -> str:
    """The settings as Markdown tables, for the documentation."""
    required = Config(data_dir="")
    rows = ["| Key | Default | Meaning |", "|---|---|---|"]
    for key, (attribute, setting) in SETTINGS.items():
        value = getattr(required, attribute)
        default = f"`{setting.kind.show(value)}`" if value not in ("", None) else ""
        rows.append(f"| `{key}` | {default} | {setting.meaning} |")
    rows += [f"| `{key}` |  | {meaning} |" for key, meaning in SERVER_LINES.items()]
    rows += ["", "| Apache's keys that change nothing here | Because |", "|---|---|"]
    for reason, keys in _NOTED.items():
        listed = ", ".join(
            f"`{key}*`" if key.endswith(".") else f"`{key}`" for key in keys.split()
        )
        rows.append(f"| {listed} | {reason} |")
    rows += ["", "| Apache's keys that are refused | Unless they say | Because |", "|---|---|---|"]
    for key, (harmless, reason) in {**_REFUSED, **_REFUSED_TO_MEMBERS}.items():
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


def _refuse(name: str, value: str, line: int, table: Mapping[str, tuple[str | None, str]]) -> None:
    harmless, reason = table[name]
    if value.lower() != harmless:
        raise ConfigError(reason, key=name, line=line)


def _pass_over(name: str, value: str, line: int) -> str | None:
    """What is to be said about a key that is no setting, unless it is a `ConfigError`."""
    if name in _REFUSED:
        _refuse(name, value, line, _REFUSED)
        return None
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
    known = {key.lower(): key for key in [*SETTINGS, *_REFUSED, *_REFUSED_TO_MEMBERS, *noted]}
    found = get_close_matches(name.lower(), known, n=1)
    return known[found[0]] if found else None


def _check_bounds(config: Config, lines: dict[str, int]) -> None:
    """What no line can know by itself."""
    if config.notification_interval_min_ms > config.notification_interval_max_ms:
        raise ConfigError(
            f"{config.notification_interval_max_ms} ms is less than minNotificationInterval, "
            f"{config.notification_interval_min_ms} ms",
            key="fastleader.maxNotificationInterval",
            line=lines.get("notification_interval_max_ms"),
        )
    if config.min_session_timeout_ms > config.max_session_timeout_ms:
        given = "max_session_timeout_given_ms"
        raise ConfigError(
            f"{config.max_session_timeout_ms} ms is less than minSessionTimeout, "
            f"{config.min_session_timeout_ms} ms",
            key="maxSessionTimeout",
            line=lines.get(given, lines.get("min_session_timeout_given_ms")),
        )


def _check_access(config: Config, lines: dict[str, int]) -> None:
    """That those come in whom the file lets in, and nobody else."""
    files = {
        "sasl.jaasFile": config.sasl_jaas_file,
        "sasl.usersFile": config.sasl_users_file,
        "sasl.keytab": config.sasl_keytab,
    }
    given = [key for key, file in files.items() if file is not None]
    if len(given) > 1:
        raise ConfigError(
            f"{given[0]} is set as well, and there can be one file of users or keys",
            key=given[1],
            line=lines.get({"sasl.usersFile": "sasl_users_file"}.get(given[1], "sasl_keytab")),
        )
    if config.sasl_principal is not None and config.sasl_keytab is None:
        raise ConfigError(
            "is set, and sasl.keytab is not",
            key="sasl.principal",
            line=lines.get("sasl_principal"),
        )
    if config.auth_enforced and not config.sasl_demanded and config.auth_schemes is None:
        raise ConfigError(
            "is true, and enforce.auth.schemes is not set",
            key="enforce.auth.enabled",
            line=lines.get("auth_enforced"),
        )
    demanded = config.demanded_schemes
    key, attribute = "enforce.auth.schemes", "auth_schemes"
    if config.sasl_demanded:
        key, attribute = "sessionRequireClientSASLAuth", "sasl_demanded"
    if "sasl" in demanded and not config.has_users:
        reason = (
            "nobody can come in by SASL: there is no sasl.jaasFile, sasl.usersFile or sasl.keytab"
        )
    elif "digest" in demanded and not config.digest_auth_enabled:
        reason = "nobody can come in by digest: DigestAuthenticationProvider.enabled is false"
    else:
        return
    raise ConfigError(reason, key=key, line=lines.get(attribute))


def _check_members_access(config: Config, lines: dict[str, int]) -> None:
    """That no member waits for proofs that nobody gives, as Apache's server checks it."""
    if config.ensemble is None:
        return
    dials, demanded = config.quorum_sasl_dials, config.quorum_sasl_demanded
    reason = "is true, and quorum.auth.enableSasl is not"
    if demanded and not config.quorum_sasl:
        key, attribute = "quorum.auth.serverRequireSasl", "quorum_sasl_demanded"
    elif dials and not config.quorum_sasl:
        key, attribute = "quorum.auth.learnerRequireSasl", "quorum_sasl_dials"
    elif demanded and not dials:
        key, attribute = "quorum.auth.serverRequireSasl", "quorum_sasl_demanded"
        reason = "is true, and quorum.auth.learnerRequireSasl is not: nobody would be heard"
    elif config.quorum_sasl and config.quorum_jaas_file is None and config.sasl_jaas_file is None:
        key, attribute = "quorum.auth.enableSasl", "quorum_sasl"
        reason = "is true, and there is no quorum.auth.jaasFile, nor a sasl.jaasFile"
    else:
        return
    raise ConfigError(reason, key=key, line=lines.get(attribute))


def _check_pages(config: Config, reading: _Reading) -> None:
    """That who asks for HTTP by TLS, or for certificates of those who come, gets it."""
    by_tls = config.admin_tls_only or config.admin_port_unified
    key, attribute = "admin.portUnification", "admin_port_unified"
    if config.admin_tls_only:
        key, attribute = "admin.forceHttps", "admin_tls_only"
    reason = None
    if by_tls and not (config.quorum_key_store or config.client_key_store):
        of_members = "ssl.quorum.keyStore.location as in Apache's server"
        reason = f"there is no certificate: it takes {of_members}, or else ssl.keyStore.location"
    elif config.admin_client_auth:
        prefix = "ssl.quorum." if config.quorum_key_store else "ssl."
        trust = config.quorum_trust_store if config.quorum_key_store else config.client_trust_store
        key, attribute = "admin.needClientAuth", "admin_client_auth"
        if not by_tls:
            reason = (
                "nobody comes by TLS: neither admin.forceHttps nor admin.portUnification is true"
            )
        elif not trust:
            reason = f"there is no {prefix}trustStore.location to check certificates with"
        elif not config.admin_tls_only:
            line = reading.lines.get("admin_port_unified")
            reading.say(
                line, "admin.portUnification lets in who comes without TLS and certificate"
            )
    if reason is not None:
        raise ConfigError(reason, key=key, line=reading.lines.get(attribute))


def _check_metrics(config: Config, lines: dict[str, int]) -> None:
    """That metrics are had by TLS where that is asked for, as Apache's server checks it."""
    if not config.exports_metrics or config.metrics_tls_port is None:
        return
    prefix = "metricsProvider.ssl."
    if config.metrics_key_store is None:
        key, attribute = "metricsProvider.httpsPort", "metrics_tls_port"
        reason = f"there is no certificate: it takes {prefix}keyStore.location"
    elif config.metrics_client_auth and config.metrics_trust_store is None:
        key, attribute = f"{prefix}need.client.auth", "metrics_client_auth"
        reason = f"is true if it is not set, and there is no {prefix}trustStore.location"
    else:
        return
    raise ConfigError(reason, key=key, line=lines.get(attribute))


def _address(host: str) -> IPv4Address | IPv6Address | None:
    """The address that `host` is, unless it is a name; an empty one stands for every address."""
    try:
        return ip_address(host or "0.0.0.0")
    except ValueError:
        return None


def _is_loopback(host: str) -> bool:
    address = _address(host)
    return host == "localhost" if address is None else address.is_loopback


def _entries(text: str) -> Iterator[tuple[int, str, str]]:
    try:
        yield from entries(text)
    except PropertiesError as error:
        raise ConfigError(error.reason, line=error.line) from None
