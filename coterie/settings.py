"""Every setting once: its zoo.cfg key, unit, default and meaning; `Config` has them all.

Rules: an attribute of `Config` carries its own `Setting`, so the reader (`config.py`), the
defaults and the reference in the documentation are one table. The names of attributes end with the
unit of their value.
"""

from dataclasses import dataclass
from typing import Annotated, Final, get_type_hints

from coterie.ensemble import Ensemble, Role, Seat
from coterie.kinds import (
    BACKLOG,
    BACKLOG_DEFAULT,
    COUNT,
    DIGEST,
    FACTOR,
    HOST_NAMES,
    HOURS,
    LIMIT_KIB,
    MS,
    PORT,
    POSITIVE,
    SUPER,
    TEXT,
    TRUE_FALSE,
    URL_PATH,
    WORDS,
    YES_NO,
    Kind,
    Setting,
    number,
)
from coterie.overload_settings import OverloadConfig

NO_PORT: Final = -1
"""As `client_port`: clients are served with TLS only."""
_PROMETHEUS: Final = "PrometheusMetricsProvider"


def _of_ensemble(key: str, kind: Kind, meaning: str, raised_to: int | None = None) -> Setting:
    return Setting(key, kind, meaning, raised_to, of_ensemble=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Config(OverloadConfig):
    """What one server is told. The attributes that end in `_given` are for the reader only."""

    data_dir: Annotated[
        str, Setting("dataDir", TEXT, "where snapshots are, in `version-2` below it")
    ]
    data_log_dir_given: Annotated[
        str | None, Setting("dataLogDir", TEXT, "where the log is; unset: in dataDir")
    ] = None
    client_port: Annotated[
        int, Setting("clientPort", PORT, "the port for clients; a file has to name it")
    ] = 2181
    client_port_address: Annotated[
        str,
        Setting(
            "clientPortAddress",
            TEXT,
            "the address to listen at; unset in a file: every address, as in Apache's server; "
            "without a file: 127.0.0.1",
        ),
    ] = ""
    client_port_backlog: Annotated[
        int,
        Setting(
            "clientPortListenBacklog",
            BACKLOG,
            "connections that may wait to be accepted; -1: the default",
        ),
    ] = BACKLOG_DEFAULT
    tick_time_ms: Annotated[
        int, Setting("tickTime", MS, "the unit of time of sessions; without a file: 2000")
    ] = 3000
    min_session_timeout_given_ms: Annotated[
        int,
        Setting(
            "minSessionTimeout",
            number(-1, unit="ms"),
            "the shortest session timeout that a client gets; -1: two ticks",
        ),
    ] = -1
    max_session_timeout_given_ms: Annotated[
        int,
        Setting(
            "maxSessionTimeout",
            number(-1, unit="ms"),
            "the longest session timeout that a client gets; -1: twenty ticks",
        ),
    ] = -1
    connections_per_ip_max: Annotated[
        int,
        Setting(
            "maxClientCnxns",
            COUNT,
            "connections from one address; 0: no limit, as without a file, when all clients "
            "share one address",
        ),
    ] = 60
    connections_max: Annotated[
        int, Setting("maxCnxns", COUNT, "connections in all; 0: no limit")
    ] = 0
    sessionless_timeout_ms: Annotated[
        int,
        Setting(
            "nio.sessionlessCnxnTimeout",
            MS,
            "a connection that has no session after this time is closed",
        ),
    ] = 10_000
    frame_bytes_max: Annotated[
        int,
        Setting(
            "jute.maxbuffer",
            number(1024, unit="bytes"),
            "the longest request, and so the largest znode, in bytes",
        ),
    ] = 1024 * 1024 - 1
    outstanding_max: Annotated[
        int,
        Setting(
            "globalOutstandingLimit",
            POSITIVE,
            "requests that may wait for the log before no more are read from clients",
        ),
    ] = 1000
    snap_count: Annotated[
        int,
        Setting(
            "snapCount",
            number(0),
            "a snapshot is taken after this many txns, less a random part of up to half",
            raised_to=2,
        ),
    ] = 100_000
    snap_log_bytes: Annotated[
        int,
        Setting(
            "snapSizeLimitInKb",
            LIMIT_KIB,
            "a snapshot is taken after this much log (KiB), less a random part of up to half; "
            "0: no matter how much",
        ),
    ] = 4 * 1024**3
    log_bytes_max: Annotated[
        int,
        Setting(
            "txnLogSizeLimitInKb",
            LIMIT_KIB,
            "a log file that is larger (KiB) is followed by a new one; 0: any size",
        ),
    ] = 0
    prealloc_bytes: Annotated[
        int,
        Setting(
            "preAllocSize",
            number(0, unit="KiB", scale=1024),
            "log files grow by blocks of this size (KiB); 0: as they are written",
        ),
    ] = 65536 * 1024
    force_sync: Annotated[
        bool,
        Setting(
            "forceSync",
            YES_NO,
            "whether a write is on the disk before it is acknowledged; `no` loses acknowledged "
            "writes when the machine stops",
        ),
    ] = True
    fsync_warning_ms: Annotated[
        int,
        Setting("fsync.warningthresholdms", COUNT, "a sync that takes longer (ms) is logged"),
    ] = 1000
    trust_empty_snapshot: Annotated[
        bool,
        Setting(
            "snapshot.trust.empty",
            TRUE_FALSE,
            "whether to start from logs alone when there is no snapshot at all",
        ),
    ] = False
    purge_retain_count: Annotated[
        int,
        Setting(
            "autopurge.snapRetainCount",
            number(0),
            "snapshots that a purge keeps, with the logs that belong to them",
            raised_to=3,
        ),
    ] = 3
    purge_interval_ms: Annotated[
        int,
        Setting(
            "autopurge.purgeInterval",
            HOURS,
            "time between purges, in hours unless it bears ms, s, m, h or d; 0: no purges",
        ),
    ] = 0
    four_letter_words: Annotated[
        frozenset[str],
        Setting(
            "4lw.commands.whitelist",
            WORDS,
            "the four-letter words that are answered; `*`: all, as without a file on a loopback "
            "address; `srvr` is answered always",
        ),
    ] = frozenset({"srvr"})
    skip_acl: Annotated[bool, Setting("skipACL", YES_NO, "whether ACLs are not checked")] = False
    enforce_quota: Annotated[
        bool,
        Setting("enforceQuota", TRUE_FALSE, "whether a write beyond a hard quota is refused"),
    ] = False
    extended_types_enabled: Annotated[
        bool,
        Setting(
            "extendedTypesEnabled",
            TRUE_FALSE,
            "whether znodes may have a time to live; without a file: true",
        ),
    ] = False
    container_check_interval_ms: Annotated[
        int,
        Setting(
            "znode.container.checkIntervalMs",
            MS,
            "time (ms) between searches for empty containers and TTL znodes past their time",
        ),
    ] = 60_000
    container_per_minute_max: Annotated[
        int, Setting("znode.container.maxPerMinute", POSITIVE, "how many of them go in a minute")
    ] = 10_000
    container_never_used_ms: Annotated[
        int,
        Setting(
            "znode.container.maxNeverUsedIntervalMs",
            COUNT,
            "a container that never had a child goes after this time (ms); 0: it stays",
        ),
    ] = 300_000
    digest_enabled: Annotated[
        bool,
        Setting(
            "digest.enabled",
            TRUE_FALSE,
            "whether the log and snapshots carry a digest of the tree, which recovery compares",
        ),
    ] = True
    close_session_paths: Annotated[
        bool,
        Setting(
            "closeSessionTxn.enabled",
            TRUE_FALSE,
            "whether the txn that closes a session names the znodes that it deletes",
        ),
    ] = True
    digest_auth_enabled: Annotated[
        bool,
        Setting(
            "DigestAuthenticationProvider.enabled",
            TRUE_FALSE,
            "whether clients may authenticate with the digest scheme",
        ),
    ] = True
    digest_algorithm: Annotated[
        str,
        Setting(
            "DigestAuthenticationProvider.digestAlg",
            DIGEST,
            "the digest of the digest scheme",
        ),
    ] = "sha1"
    super_digest: Annotated[
        str | None,
        Setting(
            "DigestAuthenticationProvider.superDigest",
            SUPER,
            "who is above every ACL, as `user:base64(digest(user:password))`; unset: nobody",
        ),
    ] = None
    admin_enabled: Annotated[
        bool, Setting("admin.enableServer", TRUE_FALSE, "whether there are pages over HTTP")
    ] = True
    admin_address: Annotated[
        str,
        Setting(
            "admin.serverAddress",
            TEXT,
            "the address for HTTP; Apache's default is every address, here that has to be asked "
            "for: 0.0.0.0",
        ),
    ] = "127.0.0.1"
    admin_port_given: Annotated[
        int | None,
        Setting(
            "admin.serverPort",
            PORT,
            "the port for HTTP; unset: 8080 if nobody has it, and no pages if somebody does",
        ),
    ] = None
    admin_command_url: Annotated[
        str, Setting("admin.commandURL", URL_PATH, "where the commands are")
    ] = "/commands"
    admin_port_unified: Annotated[
        bool,
        Setting("admin.portUnification", TRUE_FALSE, "whether HTTP is had with and without TLS"),
    ] = False
    admin_tls_only: Annotated[
        bool, Setting("admin.forceHttps", TRUE_FALSE, "whether HTTP is had by TLS alone")
    ] = False
    admin_client_auth: Annotated[
        bool,
        Setting(
            "admin.needClientAuth",
            TRUE_FALSE,
            "whether who comes to HTTP by TLS has to show a certificate",
        ),
    ] = False
    admin_snapshot_enabled: Annotated[
        bool,
        Setting(
            "admin.snapshot.enabled",
            TRUE_FALSE,
            "whether super may fetch a snapshot over HTTP; Apache's default is true",
        ),
    ] = False
    admin_pause_ms: Annotated[
        int,
        Setting("admin.rateLimiterIntervalInMS", COUNT, "time (ms) between two such snapshots"),
    ] = 300_000
    admin_host_names: Annotated[
        tuple[str, ...] | None,
        Setting(
            "admin.hostNames",
            HOST_NAMES,
            "not Apache's: by which names HTTP may be asked for, beyond those that the server "
            "knows; unset: no others",
        ),
    ] = None
    admin_client_key_store: Annotated[
        str | None,
        Setting(
            "admin.client.keyStore.location",
            TEXT,
            "not Apache's: the certificate and key that the pages show at a client port that asks "
            "for one; whoever may see the pages then has its identity",
        ),
    ] = None
    admin_client_key_password_path: Annotated[
        str | None,
        Setting(
            "admin.client.keyStore.passwordPath", TEXT, "a file that has the password of that file"
        ),
    ] = None
    admin_idle_timeout_ms: Annotated[
        int,
        Setting(
            "admin.idleTimeout", MS, "time (ms) after which an idle HTTP connection is closed"
        ),
    ] = 30_000
    admin_read_only_given: Annotated[
        bool | None,
        Setting(
            "admin.readOnly",
            TRUE_FALSE,
            "whether nothing can be changed over HTTP; unset: only on a loopback address it can",
        ),
    ] = None
    admin_telemetry: Annotated[
        bool,
        Setting(
            "admin.telemetry",
            TRUE_FALSE,
            "not Apache's: whether what is asked over HTTP makes spans of OpenTelemetry, which "
            "takes coterie[telemetry]; OTEL_* variables say where they go",
        ),
    ] = False
    metrics_provider: Annotated[
        str,
        Setting(
            "metricsProvider.className",
            TEXT,
            "Apache's PrometheusMetricsProvider opens ports for metrics alone; all others: none",
        ),
    ] = "org.apache.zookeeper.metrics.impl.DefaultMetricsProvider"
    metrics_address: Annotated[
        str,
        Setting(
            "metricsProvider.httpHost",
            TEXT,
            "the address for metrics; Apache's default is every address, here that has to be "
            "asked for: 0.0.0.0",
        ),
    ] = "127.0.0.1"
    metrics_port: Annotated[
        int | None, Setting("metricsProvider.httpPort", PORT, "the port for metrics; unset: none")
    ] = None

    dynamic_config_file: Annotated[
        str | None,
        Setting("dynamicConfigFile", TEXT, "another file that has the server lines; unset: this"),
    ] = None
    standalone_enabled: Annotated[
        bool,
        Setting(
            "standaloneEnabled",
            TRUE_FALSE,
            "whether the only participant that is named runs alone, without elections",
        ),
    ] = True
    init_limit: Annotated[
        int,
        _of_ensemble(
            "initLimit",
            POSITIVE,
            "ticks that a member may take to connect to a leader and to get its history; with "
            "server lines, a file has to say it",
        ),
    ] = 10
    sync_limit: Annotated[
        int,
        _of_ensemble(
            "syncLimit",
            POSITIVE,
            "ticks for which a leader and a member may hear nothing of each other; with server "
            "lines, a file has to say it",
        ),
    ] = 5
    connect_limit: Annotated[
        int,
        _of_ensemble(
            "connectToLearnerMasterLimit",
            COUNT,
            "ticks that a member may take to connect to a leader; 0: as initLimit",
        ),
    ] = 0
    leader_connect_delay_ms: Annotated[
        int,
        _of_ensemble(
            "leaderConnectDelayDuringRetryMs", MS, "time (ms) between two tries to reach a leader"
        ),
    ] = 100
    peer_type: Annotated[
        Role | None,
        _of_ensemble(
            "peerType",
            Kind("participant or observer", lambda text: Role(text.lower())),
            "what this member does; the server lines decide, so this can only agree with them",
        ),
    ] = None
    quorum_listen_on_all_ips: Annotated[
        bool,
        _of_ensemble(
            "quorumListenOnAllIPs",
            TRUE_FALSE,
            "whether members are heard at every address, not only at that of the server line",
        ),
    ] = False
    leader_serves: Annotated[
        bool, _of_ensemble("leaderServes", YES_NO, "whether clients may connect to the leader")
    ] = True
    read_only_enabled: Annotated[
        bool,
        _of_ensemble(
            "readonlymode.enabled",
            TRUE_FALSE,
            "whether a member without a quorum serves those clients that only read",
        ),
    ] = False
    commit_log_count: Annotated[
        int,
        _of_ensemble(
            "commitLogCount",
            COUNT,
            "txns that a leader keeps in memory for members that were away",
            raised_to=500,
        ),
    ] = 500
    snapshot_size_factor: Annotated[
        float,
        _of_ensemble(
            "snapshotSizeFactor",
            FACTOR,
            "a member that was away longer gets txns from the log if they are no more than this "
            "part of the newest snapshot; 0: always, negative: never",
        ),
    ] = 0.33
    force_snapshot_sync: Annotated[
        bool,
        _of_ensemble(
            "forceSnapshotSync", TRUE_FALSE, "whether members that were away get the whole tree"
        ),
    ] = False
    notification_interval_min_ms: Annotated[
        int,
        _of_ensemble(
            "fastleader.minNotificationInterval",
            MS,
            "time (ms) after which a vote is told again in an election, at first",
        ),
    ] = 200
    notification_interval_max_ms: Annotated[
        int,
        _of_ensemble(
            "fastleader.maxNotificationInterval",
            MS,
            "the longest such time (ms); each is twice the one before",
        ),
    ] = 60_000
    connection_timeout_ms: Annotated[
        int,
        _of_ensemble("cnxTimeout", MS, "time (ms) to connect to another member's election port"),
    ] = 5000
    ensemble: Ensemble | None = None
    """Who the members are; None: this server runs alone."""
    server_id: int = 0
    """Which of them this is (`with_server_id`)."""

    @property
    def seat(self) -> Seat:
        """This member's place in its ensemble."""
        assert self.ensemble is not None
        return self.ensemble.seats[self.server_id]

    @property
    def init_limit_ms(self) -> int:
        """How long a member may take to connect to a leader and to get its history."""
        return self.init_limit * self.tick_time_ms

    @property
    def sync_limit_ms(self) -> int:
        """For how long a leader and a member may hear nothing of each other."""
        return self.sync_limit * self.tick_time_ms

    @property
    def connect_limit_ms(self) -> int:
        """How long a member may take to connect to a leader."""
        return (self.connect_limit or self.init_limit) * self.tick_time_ms

    @property
    def data_log_dir(self) -> str:
        """Where the log is."""
        return self.data_dir if self.data_log_dir_given is None else self.data_log_dir_given

    @property
    def exports_metrics(self) -> bool:
        """Whether there may be ports for metrics alone."""
        return self.metrics_provider.endswith(_PROMETHEUS)

    @property
    def audit_file(self) -> str:
        """Where the audit log is."""
        given = self.audit_file_given
        return f"{self.data_dir}/audit.jsonl" if given is None else given

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
    if hasattr(hint, "__metadata__")
}
"""Key without prefix to the attribute of `Config` and its setting, in the order of the class."""
