"""Settings: what a zoo.cfg may say, what it gives, and what its writer is told."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.config import (
    SETTINGS,
    Config,
    ConfigError,
    dynamic_config_file,
    embedded_default,
    parse,
    reference,
    with_server_id,
)
from coterie.ensemble import Role
from coterie.settings import NO_PORT

LEAST = "dataDir=/data\nclientPort=2181\nclientPortAddress=::\n"
LIMITS = "initLimit=10\nsyncLimit=5\n"
LINES = "".join(f"server.{id}=host{id}:2888:3888\n" for id in (1, 2, 3))
MEMBER = LEAST + LIMITS + LINES
_METRICS = (
    "metricsProvider.className=org.apache.zookeeper.metrics.prometheus.PrometheusMetricsProvider\n"
)
_CERTIFIED = f"{_METRICS}metricsProvider.httpsPort=4443\nmetricsProvider.ssl.keyStore.location=a\n"


def setting(line: str) -> Config:
    """What one more line makes of the least file."""
    return parse(LEAST + line)[0]


def notices(line: str) -> list[str]:
    return parse(LEAST + line)[1]


def complaint(text: str, dynamic: str | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text, dynamic)
    return str(caught.value)


def member(text: str, myid: str = "2") -> Config:
    return with_server_id(parse(text)[0], myid)[0]


def not_member(text: str, myid: str = "2") -> str:
    with pytest.raises(ConfigError) as caught:
        member(text, myid)
    return str(caught.value)


# --- what a file gives


def test_the_least_file_has_the_defaults_of_apache() -> None:
    config, said = parse(LEAST)
    assert said == []
    assert config == Config(data_dir="/data", client_port=2181, client_port_address="::")
    assert config.data_log_dir == "/data"
    assert config.tick_time_ms == 3000
    assert (config.min_session_timeout_ms, config.max_session_timeout_ms) == (6000, 60_000)
    assert config.frame_bytes_max == 0xFFFFF
    assert config.four_letter_words == {"srvr"}
    assert not config.extended_types_enabled


@pytest.mark.parametrize(
    ("line", "attribute", "value"),
    [
        ("dataLogDir=/log", "data_log_dir", "/log"),
        ("tickTime=500", "min_session_timeout_ms", 1000),
        ("tickTime=500", "max_session_timeout_ms", 10_000),
        ("minSessionTimeout=1", "min_session_timeout_ms", 1),
        ("maxSessionTimeout=7000", "max_session_timeout_ms", 7000),
        ("clientPortListenBacklog=-1", "client_port_backlog", 4096),
        ("clientPortListenBacklog=7", "client_port_backlog", 7),
        ("preAllocSize=64", "prealloc_bytes", 65536),
        ("snapSizeLimitInKb=-1", "snap_log_bytes", 0),
        ("txnLogSizeLimitInKb=3", "log_bytes_max", 3072),
        ("forceSync=no", "force_sync", False),
        ("forceSync=YES", "force_sync", True),
        ("skipACL=yes", "skip_acl", True),
        ("enforceQuota=True", "enforce_quota", True),
        ("autopurge.purgeInterval=2", "purge_interval_ms", 7_200_000),
        ("autopurge.purgeInterval=1d", "purge_interval_ms", 86_400_000),
        ("autopurge.purgeInterval=30m", "purge_interval_ms", 1_800_000),
        ("autopurge.purgeInterval=9S", "purge_interval_ms", 9000),
        ("autopurge.purgeInterval=250ms", "purge_interval_ms", 250),
        ("autopurge.purgeInterval=-1", "purge_interval_ms", 0),
        ("4lw.commands.whitelist=stat, ruok,", "four_letter_words", {"stat", "ruok", "srvr"}),
        ("4lw.commands.whitelist=*", "four_letter_words", {"*", "srvr"}),
        ("DigestAuthenticationProvider.digestAlg=SHA-256", "digest_algorithm", "sha256"),
        ("DigestAuthenticationProvider.digestAlg=SHA3-256", "digest_algorithm", "sha3_256"),
        ("DigestAuthenticationProvider.digestAlg=SHA", "digest_algorithm", "sha1"),
        ("DigestAuthenticationProvider.superDigest=su:aBc+/9==", "super_digest", "su:aBc+/9=="),
        ("zookeeper.snapCount=50", "snap_count", 50),
        ("zookeeper.fsync.warningthresholdms = 20", "fsync_warning_ms", 20),
    ],
)
def test_one_line(line: str, attribute: str, value: object) -> None:
    assert getattr(setting(line), attribute) == value


# --- what is refused


@pytest.mark.parametrize(
    ("line", "words"),
    [
        ("tickTime=0", "line 4: tickTime: '0' is not a whole number of ms from 1 to 2147483647"),
        ("tickTime=soon", "line 4: tickTime: 'soon' is not a whole number of ms"),
        ("tickTime=", "line 4: tickTime: '' is not a whole number"),
        ("tickTime=\u0662", "is not a whole number"),
        ("clientPort=65536", "line 4: clientPort: '65536' is not a whole number from 0 to 65535"),
        ("clientPort=-1", "'-1' is not a whole number from 0 to 65535"),
        ("maxClientCnxns=1.5", "'1.5' is not a whole number"),
        ("snapCount=" + "9" * 5000, "is not a whole number"),
        ("dataDir=", "line 4: dataDir: '' is not a name"),
        ("skipACL=true", "line 4: skipACL: 'true' is not yes or no"),
        ("enforceQuota=yes", "line 4: enforceQuota: 'yes' is not true or false"),
        ("preAllocSize=64K", "'64K' is not a whole number of KiB"),
        ("txnLogSizeLimitInKb=big", "'big' is not a whole number of KiB, 0 or less for no limit"),
        ("autopurge.purgeInterval=2w", "'2w' is not a whole number, in hours or with ms, s, m"),
        ("4lw.commands.whitelist=stat;ruok", "is not four-letter words with commas between"),
        ("DigestAuthenticationProvider.digestAlg=ROT13", "'ROT13' is not a digest such as SHA1"),
        ("DigestAuthenticationProvider.digestAlg=shake_128", "is not a digest such as SHA1"),
        ("DigestAuthenticationProvider.superDigest=secret", "is not a user, a colon and"),
        ("minSessionTimeout=70000", "line 4: maxSessionTimeout: 60000 ms is less than"),
        ("minSessionTimeout=9\nmaxSessionTimeout=8", "line 5: maxSessionTimeout: 8 ms is less"),
        ("secureClientPort=tls", "line 4: secureClientPort: 'tls' is not a whole number"),
        (
            "admin.forceHttps=true",
            "line 4: admin.forceHttps: there is no certificate: it takes ssl.",
        ),
        ("admin.portUnification=true", "line 4: admin.portUnification: there is no certificate"),
        ("admin.hostNames=a.example:80", "'a.example:80' is not names of hosts without ports"),
        ("admin.needClientAuth=true", "line 4: admin.needClientAuth: nobody comes by TLS"),
        (
            "admin.needClientAuth=true\nadmin.forceHttps=true\nssl.keyStore.location=a",
            "line 4: admin.needClientAuth: there is no ssl.trustStore.location to check",
        ),
        (
            f"{_METRICS}metricsProvider.httpsPort=4443",
            "line 5: metricsProvider.httpsPort: there is no certificate: it takes metricsProvider",
        ),
        (
            _CERTIFIED,
            "metricsProvider.ssl.need.client.auth: is true if it is not set, and there is no met",
        ),
        (
            f"{_CERTIFIED}metricsProvider.ssl.need.client.auth=true",
            "line 7: metricsProvider.ssl.need.client.auth: is true",
        ),
        ("metricsProvider.ssl.trustStore.type=JKS", "'JKS' is not PEM or PKCS12 (keytool"),
        ("metricsProvider.ssl.enabledProtocols=TLSv1.1", "'TLSv1.1' is not TLSv1.2 and"),
        ("ssl.keyStore.type=JKS", "'JKS' is not PEM or PKCS12 (keytool"),
        ("ssl.clientAuth=maybe", "'maybe' is not need, want or none"),
        ("ssl.enabledProtocols=TLSv1.1", "'TLSv1.1' is not TLSv1.2 and TLSv1.3"),
        ("ssl.crl=true", "line 4: ssl.crl: lists of revoked certificates are not looked at"),
        ("ssl.keystore.location=a.pem", "did you mean ssl.keyStore.location?"),
        ("dynamicConfigFile=zoo.cfg.dynamic", "dynamicConfigFile: zoo.cfg.dynamic was not read"),
        ("electionAlg=1", "line 4: electionAlg: 3 is the only algorithm"),
        ("snapshotSizeFactor=1.5", "'1.5' is not a number up to 1, negative for never"),
        ("peerType=leader", "line 4: peerType: 'leader' is not participant or observer"),
        ("leaderServes=true", "line 4: leaderServes: 'true' is not yes or no"),
        ("enforce.auth.enabled=true", "line 4: enforce.auth.enabled: is true, and enforce.auth."),
        ("enforce.auth.schemes=digest,oauth", "is not digest, ip, sasl or x509"),
        (
            "enforce.auth.schemes=ip,sasl\nenforce.auth.enabled=true",
            "line 4: enforce.auth.schemes: nobody can come in by SASL",
        ),
        (
            "zookeeper.sessionRequireClientSASLAuth=true",
            "line 4: sessionRequireClientSASLAuth: nobody can come in by SASL: there is no",
        ),
        (
            "digest.enabled=false\nenforce.auth.enabled=true\nenforce.auth.schemes=digest".replace(
                "digest.en", "DigestAuthenticationProvider.en"
            ),
            "nobody can come in by digest",
        ),
        ("sasl.jaasFile=a\nsasl.usersFile=b", "line 5: sasl.usersFile: sasl.jaasFile is set"),
        ("server.1=a:2888", "line 4: server.1: 'a:2888' is not host:port:port"),
        (
            "secureClientPort=1\nserver.1=a:1:2;;2281",
            "to 0.0.0.0:2281, but secureClientPortAddress",
        ),
        ("server.1=a:2888:3888;2182", "server.1: clients are to connect to 0.0.0.0:2182, but"),
        ("server.one=a:2888:3888", "line 4: server.one: is not a key that Coterie"),
        ("standaloneEnabled=false", "standaloneEnabled: is false, but there is no server line"),
        ("=1", "line 4: '=1' has no key"),
        ("tickTime=\\u12", "line 4: \\u is not followed by four hexadecimal digits"),
    ],
)
def test_refused_with_line_key_and_what_is_allowed(line: str, words: str) -> None:
    assert words in complaint(LEAST + line)


@pytest.mark.parametrize(
    ("line", "meant"),
    [
        ("clientport=1", "clientPort"),
        ("maxClientConnections=1", "maxClientCnxns"),
        ("autopurge.snapRetain=5", "autopurge.snapRetainCount"),
        ("zookeeper.snapcounts=5", "snapCount"),
        ("initLimits=5", "initLimit"),
        ("sslQuorums=true", "sslQuorum"),
    ],
)
def test_an_unknown_key_is_refused_with_the_one_that_was_meant(line: str, meant: str) -> None:
    said = complaint(LEAST + line)
    assert said.startswith("line 4: ")
    assert said.endswith(f"is not a key that Coterie or ZooKeeper knows; did you mean {meant}?")


def test_an_unknown_key_that_is_like_no_other() -> None:
    assert complaint("colour=red").endswith("knows")


@pytest.mark.parametrize("required", ["dataDir", "clientPort"])
def test_what_has_to_be_set(required: str) -> None:
    text = "".join(line for line in LEAST.splitlines(True) if not line.startswith(required + "="))
    assert complaint(text) == f"{required}: is not set"


def test_an_error_tells_its_parts_apart() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("\n\ntickTime=x")
    error = caught.value
    assert (error.line, error.key) == (3, "tickTime")
    assert str(error) == f"line 3: tickTime: {error.reason}"


# --- what is said


def test_metrics_by_tls_are_set_by_apaches_names() -> None:
    """Those of `PrometheusMetricsProvider`, each with `metricsProvider.` before it."""
    ssl = "metricsProvider.ssl."
    config, said = parse(
        f"{LEAST}{_METRICS}metricsProvider.httpsPort=4443\n"
        f"{ssl}keyStore.location=a.pem\n{ssl}keyStore.password=b\n{ssl}keyStore.type=PEM\n"
        f"{ssl}trustStore.location=c.p12\n{ssl}trustStore.password=d\n"
        f"{ssl}trustStore.type=PKCS12\n{ssl}need.client.auth=false\n"
        f"{ssl}want.client.auth=false\n{ssl}enabledProtocols=TLSv1.2,TLSv1.3\n"
        f"{ssl}ciphersuites=TLS_AES_128_GCM_SHA256\n"
    )
    assert said == []
    assert (config.metrics_tls_port, config.metrics_port) == (4443, None)
    assert (config.metrics_key_store, config.metrics_key_password) == ("a.pem", "b")
    assert (config.metrics_trust_store, config.metrics_trust_password) == ("c.p12", "d")
    assert not config.metrics_client_auth
    assert not config.metrics_wants_client_auth
    assert config.metrics_tls_versions == ("TLSv1.2", "TLSv1.3")
    assert config.metrics_cipher_suites == ("TLS_AES_128_GCM_SHA256",)


def test_metrics_without_a_certificate_are_fine_where_there_are_none() -> None:
    assert not setting("metricsProvider.httpsPort=4443").exports_metrics


def test_a_file_without_an_address_listens_everywhere_and_says_so() -> None:
    config, said = parse("dataDir=/data\nclientPort=2181")
    assert config.client_port_address == ""
    assert said == ["clientPortAddress is not set: this listens at every address it has"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("initLimit=10", "is not used: it is about an ensemble"),
        ("weight.1=3", "is not used: it is about an ensemble"),
        ("syncEnabled=true", "is not used: members do without it here"),
        ("zookeeper.commitLogCount=600", "is not used: it is about an ensemble"),
        ("sslQuorum=true", "is not used: it is about an ensemble"),
        ("learner.asyncSending=true", "is not used: members do without it here"),
        ("server.realm=EXAMPLE", "is not used: schemes are built in"),
        ("requireClientAuthScheme=sasl", "is not used: Apache's server demands nothing"),
        ("flushDelay=5", "is not used: it tunes parts"),
        ("nio.numWorkerThreads=5", "is not used: it tunes parts"),
        ("request_throttle_stall_time=5", "is not used: who has too much that waits is not read"),
        ("connectionMaxTokens=5", "is not used: in a zoo.cfg its name is connection_throttle_"),
        ("admin.httpVersion=11", "is not used: over HTTP there are pages and"),
        ("metricsProvider.exportJvmInfo=true", "is not used: over HTTP there are pages and"),
        ("zookeeper.admin.restore.enabled=true", "is not used: over HTTP there are pages"),
        ("ssl.quorum.protocol=TLSv1.3", "is not used: it is about an ensemble"),
        ("audit.impl.class=Log4jAuditLogger", "is not used: the audit log is written by this"),
        ("server.1=localhost:2888:3888", "is the only server, which runs alone"),
        ("snapCount=1", "is 1, which counts as 2, the least"),
        ("autopurge.snapRetainCount=1", "is 1, which counts as 3, the least"),
        ("dataDir=/other", "is set again, and the last line holds"),
        ("zookeeper.dataDir=/other", "is set again, and the last line holds"),
    ],
)
def test_what_is_passed_over_is_said_once(line: str, reason: str) -> None:
    [said] = notices(line)
    assert said.startswith(f"line 4: {line.partition('=')[0]} {reason}")


def test_values_that_are_raised_and_the_last_of_two() -> None:
    assert setting("autopurge.snapRetainCount=1").purge_retain_count == 3
    assert setting("snapCount=0").snap_count == 2
    assert setting("dataDir=/other").data_dir == "/other"


def test_a_refused_key_with_the_value_that_changes_nothing_is_fine() -> None:
    assert notices("enforce.auth.enabled=false\nemulate353TTLNodes=FALSE") == []


@given(st.text(st.sampled_from("dataDir=1 :\\\n#!u\tserver.")))
def test_any_text_gives_a_config_or_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        config, _ = parse(text)
        assert config.data_dir


# --- members of an ensemble


def test_server_lines_make_an_ensemble() -> None:
    config, said = parse(MEMBER)
    assert config.ensemble is not None
    assert config.ensemble.voters == {1, 2, 3}
    assert config.ensemble.seats[3].election == (("host3", 3888),)
    assert said == []
    assert (config.init_limit_ms, config.sync_limit_ms) == (30_000, 15_000)
    assert config.connect_limit_ms == 30_000
    assert config.commit_log_count == 500
    assert config.snapshot_size_factor == 0.33
    assert (config.leader_serves, config.read_only_enabled) == (True, False)


@pytest.mark.parametrize(
    ("line", "attribute", "value"),
    [
        ("tickTime=200", "init_limit_ms", 2000),
        ("connectToLearnerMasterLimit=2", "connect_limit_ms", 6000),
        ("peerType=Observer", "peer_type", Role.OBSERVER),
        ("quorumListenOnAllIPs=true", "quorum_listen_on_all_ips", True),
        ("zookeeper.leaderServes=no", "leader_serves", False),
        ("zookeeper.commitLogCount=700", "commit_log_count", 700),
        ("commitLogCount=7", "commit_log_count", 500),
        ("snapshotSizeFactor=-1", "snapshot_size_factor", -1.0),
        ("forceSnapshotSync=true", "force_snapshot_sync", True),
        ("readonlymode.enabled=true", "read_only_enabled", True),
        ("fastleader.minNotificationInterval=50", "notification_interval_min_ms", 50),
        ("fastleader.maxNotificationInterval=900", "notification_interval_max_ms", 900),
        ("cnxTimeout=700", "connection_timeout_ms", 700),
        ("leaderConnectDelayDuringRetryMs=7", "leader_connect_delay_ms", 7),
    ],
)
def test_one_line_of_a_member(line: str, attribute: str, value: object) -> None:
    assert getattr(parse(MEMBER + line)[0], attribute) == value


def test_one_server_line_runs_alone_unless_that_is_not_wanted() -> None:
    one = LIMITS + "server.1=a:2888:3888\n"
    assert parse(LEAST + one)[0].ensemble is None
    config, said = parse(LEAST + one + "standaloneEnabled=false")
    assert config.ensemble is not None
    assert said == ["none of the participants may fail: that takes at least 3"]
    seen = one + "server.2=b:2888:3888:observer\n"
    assert "line 7: server.2: observers need more than one" in complaint(LEAST + seen)
    assert parse(LEAST + seen + "standaloneEnabled=false")[0].ensemble is not None


def test_the_only_server_line_may_have_the_client_port() -> None:
    config, _ = parse("dataDir=/data\nserver.1=a:2888:3888;127.0.0.1:2182")
    assert (config.client_port_address, config.client_port) == ("127.0.0.1", 2182)
    assert config.ensemble is None


def test_an_even_number_of_participants_is_said() -> None:
    four = MEMBER + "server.4=host4:2888:3888"
    assert parse(four)[1] == ["4 participants are an even number: 3 would bear as many failures"]
    assert parse(four + ":observer")[1] == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (LEAST + LINES, "initLimit: is not set, and an ensemble needs it"),
        (LEAST + LINES + "initLimit=1", "syncLimit: is not set, and an ensemble needs it"),
        (MEMBER + "server.3=host2:2888:3888", "line 9: server.3: host2:2888 is also the address"),
        (MEMBER + "weight.1=1", "line 6: server.1: is in no group"),
        (MEMBER + "sslQuorum=yes", "line 9: sslQuorum: 'yes' is not true or false"),
        (MEMBER + "quorum.auth.enableSasl=true", "line 9: quorum.auth.enableSasl: is true, and "),
        (
            MEMBER + "quorum.auth.learnerRequireSasl=true",
            "quorum.auth.learnerRequireSasl: is true, and quorum.auth.enableSasl is not",
        ),
        (
            MEMBER + "quorum.auth.enableSasl=true\nquorum.auth.serverRequireSasl=true",
            "quorum.auth.serverRequireSasl: is true, and quorum.auth.learnerRequireSasl is not",
        ),
        (LEAST + LIMITS + "server.1=a:1:2:observer", "there are only observers"),
        (
            MEMBER + "fastleader.maxNotificationInterval=100",
            "line 9: fastleader.maxNotificationInterval: 100 ms is less than",
        ),
        (LIMITS + LINES + "dataDir=/data", "clientPort: is not set"),
    ],
)
def test_an_ensemble_that_cannot_be_served(text: str, said: str) -> None:
    assert said in complaint(text)


def test_what_changes_nothing_for_a_member() -> None:
    assert parse(MEMBER + "electionAlg=3\nsslQuorum=FALSE")[1] == []
    [said] = parse(MEMBER + "reconfigEnabled=true")[1]
    assert said == "line 9: reconfigEnabled is not used: members do without it here"


@pytest.mark.parametrize(
    ("file", "version"),
    [
        ("/etc/zoo.cfg.dynamic", 0),
        ("zoo.cfg.dynamic.100000000", 0x1_0000_0000),
        ("zoo.cfg.dynamic.next", 0),
    ],
)
def test_server_lines_in_another_file(file: str, version: int) -> None:
    text = LEAST + LIMITS + f"dynamicConfigFile={file}"
    assert dynamic_config_file(text) == file
    config, _ = parse(text, LINES)
    assert config.ensemble is not None
    assert config.ensemble.version == version
    assert config.ensemble.voters == {1, 2, 3}
    assert dynamic_config_file(LEAST) is None


@pytest.mark.parametrize(
    ("text", "dynamic", "said"),
    [
        (MEMBER, LINES, "line 6: server.1: has to be in other"),
        (LEAST, LINES + "version=1", "other: version: has no place in a dynamicConfigFile"),
        (LEAST, LINES + "initLimit=1", "other: initLimit: has no place in"),
        (LEAST, "server.1=a", "other: server.1: 'a' is not host:port:port"),
        (LEAST, "=", "other: line 1: '=' has no key"),
    ],
)
def test_another_file_that_cannot_be_served(text: str, dynamic: str, said: str) -> None:
    assert complaint(text + "dynamicConfigFile=other", dynamic).startswith(said)


# --- which member this is


@pytest.mark.parametrize("text", ["2", "2\n", " 2 \r\n", "2\nmore", "002"])
def test_myid(text: str) -> None:
    config = member(MEMBER, text)
    assert config.server_id == 2
    assert config.seat.quorum == (("host2", 2888),)
    assert (config.client_port_address, config.client_port) == ("::", 2181)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "myid: '' is not a server's number: 0 to 255"),
        ("two", "myid: 'two' is not a server's number"),
        ("-1", "myid: '-1' is not a server's number"),
        ("256", "myid: '256' is not a server's number"),
        ("\u0662", "is not a server's number"),
        ("4", "myid: there is no server.4, only 1, 2, 3"),
    ],
)
def test_a_myid_that_is_none(text: str, said: str) -> None:
    assert said in not_member(MEMBER, text)


def test_the_highest_id_and_znodes_that_live_for_a_time() -> None:
    text = MEMBER + "server.255=d:1:2\nserver.0=e:1:2\n"
    assert member(text, "255").server_id == 255
    assert member(text + "extendedTypesEnabled=true", "0").server_id == 0
    said = not_member(text + "extendedTypesEnabled=true", "255")
    assert said == "myid: with extendedTypesEnabled a server's number is at most 254"


CLIENTS = LIMITS + "".join(f"server.{i}=h{i}:1:2;10.0.0.{i}:218{i}\n" for i in (1, 2, 3))


@pytest.mark.parametrize(
    "lines",
    [
        "",
        "clientPort=2182\n",
        "clientPort=2182\nclientPortAddress=0.0.0.0\n",
        "clientPort=2182\nclientPortAddress=10.0.0.2\n",
        "clientPort=2182\nclientPortAddress=zoo.example\n",
    ],
)
def test_the_client_port_of_the_server_line(lines: str) -> None:
    config, said = parse("dataDir=/data\n" + CLIENTS + lines)
    assert said == []
    config, said = with_server_id(config, "2")
    assert said == []
    assert (config.client_port_address, config.client_port) == ("10.0.0.2", 2182)


@pytest.mark.parametrize(
    "lines", ["clientPort=2181\n", "clientPort=2182\nclientPortAddress=10.0.0.1\n"]
)
def test_two_client_ports_that_differ(lines: str) -> None:
    said = not_member("dataDir=/data\n" + CLIENTS + lines)
    assert said.startswith("server.2: clients are to connect to 10.0.0.2:2182, but")


def test_a_member_with_a_port_for_tls() -> None:
    text = MEMBER + "server.4=d:1:2;2181;2281\n"
    assert member(text, "1").secure_port is None
    four = member(text, "4")
    assert four.client_port == 2181
    assert (four.secure_port_address, four.secure_port) == ("0.0.0.0", 2281)
    text += "secureClientPort=2282\n"
    assert member(text, "1").secure_port == 2282
    assert "clients are to connect to 0.0.0.0:2281, but secureClientPort" in not_member(text, "4")


def test_a_port_for_tls_is_enough() -> None:
    config, notices = parse("dataDir=/data\nsecureClientPort=2281\n")
    assert (config.client_port, config.secure_port) == (NO_PORT, 2281)
    assert notices == []
    assert parse(LEAST + "secureClientPort=2281\n")[0].client_port == 2181


def test_tls_is_written_as_in_apaches_file() -> None:
    config, _ = parse(
        LEAST + "ssl.enabledProtocols=TLSv1.2,TLSv1.3\nssl.ciphersuites=A, B\n"
        "zookeeper.ssl.clientAuth=WANT\n"
    )
    assert config.client_tls_versions == ("TLSv1.2", "TLSv1.3")
    assert config.client_cipher_suites == ("A", "B")
    assert config.client_auth == "want"


@pytest.mark.parametrize(
    ("line", "myid", "said"),
    [
        ("peerType=observer", "4", []),
        ("peerType=participant", "1", []),
        ("peerType=observer", "1", ["peerType is not what server.1 says: participant it is"]),
        ("peerType=participant", "4", ["peerType is not what server.4 says: observer it is"]),
    ],
)
def test_the_server_lines_decide_who_votes(line: str, myid: str, said: list[str]) -> None:
    config, _ = parse(MEMBER + "server.4=d:1:2:observer\n" + line)
    assert with_server_id(config, myid)[1] == said


# --- without a file, and the documentation


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1.2.3", "::1", "localhost"])
def test_without_a_file_this_machine_may_ask_everything(host: str) -> None:
    config = embedded_default("./data", host, 2182)
    assert (config.client_port_address, config.client_port) == (host, 2182)
    assert (config.data_dir, config.data_log_dir) == ("./data", "./data")
    assert config.tick_time_ms == 2000
    assert config.extended_types_enabled
    assert config.four_letter_words == {"*"}
    assert config.connections_per_ip_max == 0


def test_without_a_file_the_default_is_loopback() -> None:
    assert embedded_default("./data") == embedded_default("./data", "127.0.0.1", 2181)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "zk.example", ""])
def test_without_a_file_others_get_what_a_file_would_give_them(host: str) -> None:
    config = embedded_default("./data", host)
    assert config.four_letter_words == {"srvr"}
    assert config.connections_per_ip_max == 60


def test_the_reference_has_every_key_and_is_made_of_whole_rows() -> None:
    text = reference()
    assert all(f"| `{key}` |" in text for key in SETTINGS)
    assert "| `preAllocSize` | `65536` |" in text
    assert "| `server.N` |  | member N: " in text
    assert "| `sslQuorum` | `false` | whether members speak TLS" in text
    assert "| `ssl.crl` | `false` | lists of revoked" in text
    for table in text.split("\n\n"):
        assert len({row.count("|") for row in table.strip().splitlines()}) == 1
