"""A KDC of Debian's packages for one realm, on loopback, in a directory of its own.

Rules: nothing of the system's is read or written: krb5.conf, kdc.conf, the database and all
keytabs are in the directory. It is started in the foreground and ended by its own handle.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Final, Self

from coterie.testing.ports import free_port
from tests.compat.servers import StartError

REALM: Final = "EXAMPLE.ORG"
SERVICE: Final = "zookeeper/localhost"

_TOOLS: Final = ("krb5kdc", "kdb5_util", "kadmin.local", "kinit", "kdestroy")
_PATH: Final = "/usr/sbin:/usr/bin:/sbin:/bin"
_START_S: Final = 20.0
_STOP_S: Final = 10.0
_RETRY_S: Final = 0.02

# No name is looked up anywhere: `localhost` is what it is called. TCP, so that it is known at
# once when nobody listens. One cipher, which Java and this library know by the same name.
_KRB5_CONF: Final = """[libdefaults]
  default_realm = {realm}
  dns_canonicalize_hostname = false
  dns_lookup_kdc = false
  dns_lookup_realm = false
  rdns = false
  udp_preference_limit = 1
  ticket_lifetime = 1h
  default_ccache_name = FILE:{directory}/ccache
  default_keytab_name = FILE:{directory}/default.keytab
  default_tkt_enctypes = aes256-cts-hmac-sha1-96
  default_tgs_enctypes = aes256-cts-hmac-sha1-96
  permitted_enctypes = aes256-cts-hmac-sha1-96
[realms]
  {realm} = {{
    kdc = 127.0.0.1:{port}
  }}
"""
_KDC_CONF: Final = """[kdcdefaults]
  kdc_listen = 127.0.0.1:{port}
  kdc_tcp_listen = 127.0.0.1:{port}
[realms]
  {realm} = {{
    database_name = {directory}/principal
    key_stash_file = {directory}/stash
    acl_file = {directory}/kadm5.acl
    supported_enctypes = aes256-cts-hmac-sha1-96:normal
    max_life = 1h
  }}
[logging]
  kdc = FILE:{directory}/kdc.log
"""


class KDC:
    """Knows the principals of a realm, and serves while it runs."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.port = free_port()
        self.config = directory / "krb5.conf"
        given = {"realm": REALM, "directory": directory, "port": self.port}
        self.config.write_text(_KRB5_CONF.format(**given))
        profile = directory / "kdc.conf"
        profile.write_text(_KDC_CONF.format(**given))
        self.environment = {
            "KRB5_CONFIG": str(self.config),
            "KRB5_KDC_PROFILE": str(profile),
            "KRB5CCNAME": f"FILE:{directory}/ccache",
            "KRB5RCACHENAME": f"file2:{directory}/rcache",
        }
        self._process: subprocess.Popen[bytes] | None = None
        self._tool("kdb5_util", "create", "-s", "-P", "of the database")

    @staticmethod
    def missing() -> str | None:
        """Why there can be none here, or None."""
        for tool in _TOOLS:
            if shutil.which(tool, path=_PATH) is None:
                return f"there is no {tool} (Debian: krb5-kdc, krb5-admin-server, krb5-user)"
        return None

    def add(self, *principals: str) -> Path:
        """New principals with keys of chance; the keytab that has them."""
        name = "".join(c if c.isalnum() else "-" for c in principals[0])
        keytab = self.directory / f"{name}.keytab"
        for each in principals:
            self._tool("kadmin.local", "-q", f"addprinc -randkey {each}")
            self._tool("kadmin.local", "-q", f"ktadd -k {keytab} {each}")
        return keytab

    def new_key(self, principal: str, keytab: Path) -> None:
        """Another key, which the keytab gets, too."""
        self._tool("kadmin.local", "-q", f"ktadd -k {keytab} {principal}")

    def kinit(self, principal: str, keytab: Path, ccache: Path | None = None) -> None:
        """What a user does who has a keytab in place of a password."""
        where = [] if ccache is None else ["-c", f"FILE:{ccache}"]
        self._tool("kinit", *where, "-k", "-t", str(keytab), principal)

    def start(self) -> Self:
        assert self._process is None, "it runs already"
        with (self.directory / "said.txt").open("ab") as said:
            self._process = subprocess.Popen(
                [_found("krb5kdc"), "-n"],
                env=self._environment(),
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=said,
            )
        give_up_at = time.monotonic() + _START_S
        log = self.directory / "kdc.log"
        while not log.exists() or "commencing operation" not in log.read_text():
            if self._process.poll() is not None or time.monotonic() > give_up_at:
                self.stop()
                raise StartError((self.directory / "said.txt").read_text())
            time.sleep(_RETRY_S)
        return self

    def stop(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.terminate()
        try:
            process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        (self.directory / "kdc.log").unlink(missing_ok=True)

    def _environment(self) -> Mapping[str, str]:
        return {**os.environ, **self.environment}

    def _tool(self, name: str, *arguments: str) -> str:
        done = subprocess.run(
            [_found(name), *arguments],
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        # kadmin.local ends with 0 whatever became of the query.
        if done.returncode or (name == "kadmin.local" and "while" in done.stderr):
            raise StartError(f"{name} {arguments[-1]}: {done.stderr.strip()}")
        return done.stdout


def _found(tool: str) -> str:
    path = shutil.which(tool, path=_PATH)
    assert path is not None, tool
    return path
