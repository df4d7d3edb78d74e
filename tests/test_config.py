"""Settings: what a zoo.cfg may say, what it gives, and what its writer is told."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import fields

import pytest
from hypothesis import given
from hypothesis import strategies as st

from coterie.config import SETTINGS, Config, ConfigError, embedded_default, parse, reference

LEAST = "dataDir=/data\nclientPort=2181\nclientPortAddress=::\n"


def setting(line: str) -> Config:
    """What one more line makes of the least file."""
    return parse(LEAST + line)[0]


def notices(line: str) -> list[str]:
    return parse(LEAST + line)[1]


def complaint(text: str) -> str:
    with pytest.raises(ConfigError) as caught:
        parse(text)
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
        ("clientPortListenBacklog=-1", "client_port_backlog", 1024),
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


def test_every_attribute_has_one_setting() -> None:
    attributes = [attribute for attribute, _ in SETTINGS.values()]
    assert attributes == [field.name for field in fields(Config)]


@pytest.mark.parametrize("key", SETTINGS)
def test_a_default_is_read_back_as_it_is_shown(key: str) -> None:
    attribute, one = SETTINGS[key]
    default = getattr(Config(data_dir="/data"), attribute)
    if default not in ("", None):
        assert one.kind.read(one.kind.show(default)) == default


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
        ("secureClientPort=2281", "line 4: secureClientPort: TLS is not served"),
        ("dynamicConfigFile=zoo.cfg.dynamic", "dynamicConfigFile: ensembles are not served"),
        ("enforce.auth.enabled=true", "cannot shut out who has not authenticated"),
        ("zookeeper.sessionRequireClientSASLAuth=true", "SASL is not served"),
        ("server.1=a:2888:3888\nserver.2=b:2888:3888", "line 5: server.2: ensembles are not"),
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


def test_a_file_without_an_address_listens_everywhere_and_says_so() -> None:
    config, said = parse("dataDir=/data\nclientPort=2181")
    assert config.client_port_address == ""
    assert said == ["clientPortAddress is not set: this listens at every address it has"]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("initLimit=10", "is not used: it is about an ensemble"),
        ("weight.1=3", "is not used: it is about an ensemble"),
        ("syncEnabled=true", "is not used: it is about an ensemble"),
        ("flushDelay=5", "is not used: it tunes parts"),
        ("nio.numWorkerThreads=5", "is not used: it tunes parts"),
        ("connection_throttle_tokens=5", "is not used: this version leaves overload"),
        ("metricsProvider.httpPort=7000", "is not used: this version has no HTTP pages"),
        ("zookeeper.admin.serverPort=8080", "is not used: this version has no HTTP pages"),
        ("ssl.quorum.protocol=TLSv1.3", "is not used: this version has no TLS"),
        ("audit.enable=true", "is not used: this version writes no audit log"),
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


# --- the syntax of Java properties


@pytest.mark.parametrize(
    "line",
    [
        "tickTime=700",
        "tickTime = 700  ",
        "tickTime:700",
        "tickTime 700",
        "\t tickTime\t:\f 700",
        "tick\\\n   Time=7\\\n\t00",
        "\\u0074ickTime=\\u003700",
        "# tickTime=1 \\\ntickTime=700",
        "! tickTime=1\n\n   \ntickTime=700",
        "tickTime=700\\",
        "tickTime=700\r\n#\r!",
    ],
)
def test_properties(line: str) -> None:
    assert setting(line).tick_time_ms == 700


@pytest.mark.parametrize(
    ("written", "meant"),
    [
        ("/a=b:c d", "/a=b:c d"),
        ("C:\\\\zk\\\\data", "C:\\zk\\data"),
        ("/a\\\n#b", "/a#b"),
        ("/a\\tb\\:c\\q", "/a\tb:cq"),
        ("/a # no comment", "/a # no comment"),
        ("/d\u00e9p\u00f4t", "/d\u00e9p\u00f4t"),
        ("/a\x85b\u2028c", "/a\x85b\u2028c"),
    ],
)
def test_a_value_is_what_java_reads(written: str, meant: str) -> None:
    assert setting(f"dataDir={written}").data_dir == meant


def test_an_error_after_continued_lines_bears_the_line_on_which_its_entry_starts() -> None:
    assert complaint(LEAST + "\n# c\ntickTime=\\\n\\\n x").startswith("line 6: tickTime: 'x'")


@given(st.text(st.sampled_from("dataDir=1 :\\\n#!u\tserver.")))
def test_any_text_gives_a_config_or_a_config_error(text: str) -> None:
    with suppress(ConfigError):
        config, _ = parse(text)
        assert config.data_dir


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
    assert "| `secureClientPort` |  | TLS is not served by this version yet |" in text
    for table in text.split("\n\n"):
        assert len({row.count("|") for row in table.strip().splitlines()}) == 1
