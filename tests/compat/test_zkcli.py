"""Apache's shell, zkCli, run with the same scripts against both servers, says the same.

Both servers are fresh and get the same scripts in the same order, so even zxids have to agree.
What differs by nature is evened out: times (but not the time 0), session ids, the order of names
where the server owes none, and when an event comes between two outputs. No expectation is stored;
a few words that each script has to show prove that it did something.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from difflib import unified_diff
from itertools import groupby
from typing import NamedTuple

import pytest

from tests.compat.servers import SERVERS, Server, java_tool

_SHELL = "org.apache.zookeeper.ZooKeeperMain"
_ID = re.compile("(digest|ip|super): .*")
_USAGE = "ZooKeeper -server host:port"
_SETTINGS = {
    "enforceQuota": "true",
    # The super user's password is "test".
    "DigestAuthenticationProvider.superDigest": "super:D/InIHSb7yEEbrWz8b9l71RjZJU=",
}


class Script(NamedTuple):
    commands: str
    shows: tuple[str, ...]


# In this order: what one has made the next may use.
SCRIPTS: Mapping[str, Script] = {
    "create": Script(
        """
        create /a data
        create /a again
        create /none/b data
        create a data
        create /a/ data
        create /a/b
        create -s /a/s- one
        create -s /a/s- two
        create -e /a/e data
        create /a/e/child data
        create -s -e /a/se- data
        create -c /a/box
        create -c /a/box/in data
        create -t 600000 /a/ttl data
        create -s -t 600000 /a/ttl- data
        create -t 0 /a/ttl0 data
        ls /a
        ls -s /a
        ls -R /
        ls -R -s /a
        ls /none
        stat /a/ttl
        stat /a/box
        stat /a/e
        stat /
        stat /zookeeper
        stat /zookeeper/quota
        """,
        ("Created /a/s-0000000002", "Ephemerals cannot have children", "Node does not exist"),
    ),
    "data": Script(
        """
        get /a
        get -s /a
        set /a new
        set -s /a newer
        set -v 2 /a newest
        set -v 2 /a late
        set -s -v 3 /a last
        set /none data
        get /none
        get -s /a
        stat /a
        set /a/b
        get -s /a/b
        get -s /
        get -s /zookeeper/config
        create /a/long "several words in one"
        get /a/long
        """,
        ("dataVersion = 4", "version No is not valid : /a", "several words in one"),
    ),
    "delete": Script(
        """
        create /d data
        create /d/e data
        create /d/e/f data
        delete /d
        delete -v 4 /d/e/f
        delete -v 0 /d/e/f
        delete /d/none
        deleteall /d
        ls /d
        delete /zookeeper/quota
        delete /
        ls -s /
        """,
        ("Node not empty: /d", "version No is not valid", "Node does not exist: /d/none"),
    ),
    "acl": Script(
        """
        getAcl /a
        getAcl -s /a
        create /acl data world:anyone:rwcda
        setAcl -s /acl world:anyone:cdra
        set /acl denied
        setAcl -v 0 /acl world:anyone:cdrwa
        setAcl -v 1 /acl world:anyone:cdrwa
        setAcl /acl nobody:knows:cdrwa
        setAcl /acl auth::cdrwa
        addauth digest ann:secret
        whoami
        create /acl/hers data auth::cdrwa
        getAcl -s /acl/hers
        create /acl/read data world:anyone:r,auth::cdrwa
        create /acl/ip data ip:127.0.0.0/8:cdrwa
        create /acl/other data ip:10.0.0.0/8:cdrwa
        get /acl/other
        getAcl /acl/other
        setAcl -R /acl/read world:anyone:ra
        getAcl -s /acl/read
        delete /acl/other
        create /acl/locked data auth::cdrwa
        create /acl/locked/in data auth::cdrwa
        """,
        ("'digest,'ann:", "Insufficient permission", "Acl is not valid", "aclVersion = 1"),
    ),
    "another": Script(
        """
        get /acl/hers
        set /acl/hers denied
        ls /acl/hers
        getAcl /acl/hers
        setAcl /acl/hers world:anyone:r
        get -s /acl/read
        set /acl/read denied
        getAcl /acl/read
        delete /acl/locked/in
        create /acl/locked/more data
        addauth digest super:test
        whoami
        get /acl/hers
        getAcl /acl/hers
        delete /acl/locked/in
        addauth digest ann:secret
        whoami
        """,
        ("Insufficient permission : /acl/hers", "super: "),
    ),
    "quota": Script(
        """
        create /q data
        create /q/a data
        listquota /q
        setquota -n 5 /q
        setquota -b 100 /q
        listquota /q
        get /zookeeper/quota/q/zookeeper_limits
        get -s /zookeeper/quota/q/zookeeper_stats
        setquota -N 4 /q
        setquota -B 30 /q
        listquota /q
        get /zookeeper/quota/q/zookeeper_limits
        create /q/b data
        create /q/c data
        create /q/d toomany
        set /q/a 1234567890123456789012345678901234567890
        setquota -n 3 /q/a
        get /zookeeper/quota/q/zookeeper_stats
        delquota -n /q
        delquota -B /q
        listquota /q
        delquota /q
        delquota /q
        listquota /q
        ls -R /zookeeper
        set /q/a 1234567890123456789012345678901234567890
        deleteall /q
        """,
        ("Quota has exceeded : /q/d", "count=4", "/q/a has a parent /q"),
    ),
    "ephemerals": Script(
        """
        getEphemerals
        create -e /e1
        create -e /a/e2
        create -s -e /a/e3-
        create /a/p
        getEphemerals
        getEphemerals /a
        getEphemerals /none
        getAllChildrenNumber /
        getAllChildrenNumber /a
        getAllChildrenNumber /e1
        getAllChildrenNumber /none
        delete /e1
        getEphemerals /
        """,
        ("e1", "a/e3-", "Node does not exist: /none"),
    ),
    "watches": Script(
        """
        create /w data
        get -w /w
        stat -w /w
        ls -w /w
        set /w data
        create /w/x data
        set /w again
        addWatch /w
        addWatch -m PERSISTENT_RECURSIVE /w
        set /w data
        create /w/x/y data
        set /w/x/y data
        delete /w/x/y
        removewatches /w
        removewatches /w
        set /w unseen
        get -w /w/x
        removewatches -d /w/x
        ls -w /w/x
        removewatches -c /w/x
        removewatches -a /w/x
        addWatch -m PERSISTENT /w/x
        deleteall /w
        """,
        ("type:NodeDataChanged path:/w", "type:NodeDeleted path:/w/x/y", "No such watcher"),
    ),
    "rest": Script(
        """
        sync /a
        sync /none
        version
        config
        config -s
        reconfig -remove 3
        whoami
        history
        close
        ls /a
        """,
        ("Sync is OK", "ip: 127.0.0.1", "Reconfig is disabled"),
    ),
}


class Said(NamedTuple):
    lines: list[str]
    events: list[str]


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Server]]:
    if reason := SERVERS["apache"].missing():
        pytest.skip(reason)
    both = {}
    try:
        for name, kind in SERVERS.items():
            both[name] = kind(tmp_path_factory.mktemp(name), _SETTINGS).start()
        yield both
    finally:
        for server in both.values():
            server.__exit__()


def _even(line: str) -> str:
    """The line without what differs by nature."""
    line = re.sub(r"\b(\w{3} \w{3} \d\d \d\d:\d\d:\d\d \w+ (?!1970)\d{4})", "TIME", line)
    line = re.sub(r"0x[0-9a-f]{12,}", "SESSION", line)
    line = re.sub(r"127\.0\.0\.1:\d+", "ADDRESS", line)
    if names := re.fullmatch(r"\[(.*)\]", line):
        return f"[{', '.join(sorted(names[1].split(', ')))}]"
    return line


def _ids_sorted(lines: list[str]) -> list[str]:
    """The ids that whoami lists, sorted where they stand together."""
    out: list[str] = []
    for is_id, group in groupby(lines, lambda line: bool(_ID.fullmatch(line))):
        together = list(group)
        out += sorted(together) if is_id else together
    return out


def _run(server: Server, script: Script) -> Said:
    text = "".join(line.strip() + "\n" for line in script.commands.strip().splitlines())
    done = java_tool(
        _SHELL, "-server", server.address, "-waitforconnection", stdin=text + "quit\n"
    )
    said = (done.stdout + "\n" + done.stderr).splitlines()
    lines = _ids_sorted([line for line in map(_even, said) if line and line != "WATCHER::"])
    events = [line for line in lines if line.startswith("WatchedEvent")]
    return Said([line for line in lines if line not in events], events)


@pytest.mark.timeout(180)
def test_the_shell_says_the_same(servers: dict[str, Server]) -> None:
    different: list[str] = []
    for name, script in SCRIPTS.items():
        apache = _run(servers["apache"], script)
        coterie = _run(servers["coterie"], script)
        text = "\n".join([*apache.lines, *apache.events])
        assert _USAGE not in text, f"{name}: a command that the shell does not know"
        for phrase in script.shows:
            assert phrase in text, f"{name}: Apache's server never showed {phrase!r}:\n{text}"
        if apache != coterie:
            different += unified_diff(
                [*apache.lines, *apache.events],
                [*coterie.lines, *coterie.events],
                f"{name}: apache",
                f"{name}: coterie",
                lineterm="",
            )
    assert not different, "\n".join(different)
