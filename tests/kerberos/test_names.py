"""Users have the names that Apache gives them: its own code is asked, and both servers."""

from __future__ import annotations

import asyncio
import subprocess
from pathlib import Path
from typing import Final

import pytest

import coterie
from coterie.principals import Principal, identity, principal, rules
from coterie.values import Id
from tests.compat.servers import TOOL_S_MAX, java_command
from tests.kerberos.conftest import Begin, Realm
from tests.kerberos.kdc import REALM
from tests.kerberos.servers import java_options

_CLASS: Final = "org.apache.zookeeper.server.auth.KerberosName"
_FALLS_TO: Final = "RULE:[1:$1] RULE:[2:$1]"
_RULES: Final = (
    "DEFAULT",
    "RULE:[1:$1@$0](.*@OTHER)s/@.*// DEFAULT",
    "RULE:[2:$1-$2](.*-admin)s/-admin/_root/  RULE:[1:$0.$1](OTHER.*)s/(O)(T)/$2\\$$12/g DEFAULT",
    "RULE:[1:$1](b.b)s/b/x/ RULE:[1:$1](b*)s/b*/-/g RULE:[2:$2.$1]s/(a)?d|z/[$1]/",
    "RULE:[1:$1]([^a-y]+)RULE:[1:$1](\\w+)s/\\d/#/g",
    "RULE:[1:a$1b$0c]s/.$//",
)
_NAMES: Final = (
    f"bob@{REALM}",
    "bob@OTHER",
    f"bob/admin@{REALM}",
    "bbb@OTHER",
    "zoe1/OTHER@OTHER",
    "zz9@A.B",
    "bob",
    "a/b",
    "",
)


def _asked(realm: Realm, text: str) -> list[str]:
    """What Apache's code makes of each name. It has the last word on all of them."""
    java, *rest = java_command("off")
    options = java_options(realm.kdc, Path("none"))
    define = f"-Dzookeeper.security.auth_to_local={text}"
    done = subprocess.run(
        [java, *options, define, *rest, _CLASS, *_NAMES],
        capture_output=True,
        text=True,
        timeout=TOOL_S_MAX,
        check=False,
    )
    said = [line for line in done.stdout.splitlines() if line.startswith("Name: ")]
    assert len(said) == len(_NAMES), done.stdout + done.stderr
    return said


@pytest.mark.parametrize("text", _RULES)
def test_rules_give_the_short_names_that_apaches_code_gives(realm: Realm, text: str) -> None:
    whole = f"{text} {_FALLS_TO}"
    ours: list[str] = []
    for name in _NAMES:
        who: Principal = principal(name)
        short = who.first if who.realm is None else None
        for rule in rules(whole):
            if short is None:
                short = rule.short(who, REALM)
        ours.append(f"Name: {name} to {short}")
    assert ours == _asked(realm, whole)


@pytest.mark.parametrize(
    ("settings", "user"),
    [
        ({}, f"bob/admin@{REALM}"),
        (
            {
                "kerberos.removeHostFromPrincipal": "true",
                "kerberos.removeRealmFromPrincipal": "true",
                "security.auth_to_local": "RULE:[2:$2.$1](admin.*)s/ad/AD/ DEFAULT",
            },
            "ADmin.bob",
        ),
        # No rule is for it.
        (
            {
                "kerberos.removeRealmFromPrincipal": "true",
                "security.auth_to_local": "RULE:[1:$1]",
            },
            f"bob/admin@{REALM}",
        ),
    ],
)
def test_both_servers_call_a_user_alike(
    realm: Realm, begin: Begin, settings: dict[str, str], user: str
) -> None:
    server = begin({**settings, "superUser": user})

    async def main() -> None:
        sasl = coterie.Kerberos(str(realm.admin))
        async with coterie.connect(f"localhost:{server.port}", sasl=sasl) as zk:
            known = await zk.who_am_i()
            assert Id("sasl", user) in known
            assert any(each.scheme == "super" for each in known)

    asyncio.run(asyncio.wait_for(main(), 30))
    without = "removeRealm" in str(settings), "removeHost" in str(settings)
    known = rules(settings.get("security.auth_to_local", "DEFAULT"))
    name = f"bob/admin@{REALM}"
    assert identity(name, known, REALM, without_realm=without[0], without_host=without[1]) == user
