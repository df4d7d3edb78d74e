"""A network of namespaces, one for each member, in which single directions can be cut silently.

Rules: only addresses of a range that is never routed are used, on a bridge that leads nowhere
else. A cut is nothing that the sender could notice: its frames for a member go to an Ethernet
address that nobody has, while what that member sends still arrives. It needs root and iproute2.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from typing import Final, Self

_NOBODY: Final = "02:00:00:00:00:ff"
_BRIDGE_HOST: Final = 254


def missing() -> str | None:
    """Why there cannot be such a network here, or None."""
    if os.geteuid() != 0:
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "there is no `ip` here (Debian: apt-get install iproute2)"
    try:
        with Network(1):
            return None
    except subprocess.CalledProcessError as error:
        return f"no network namespaces here: {error.stderr.decode().strip()}"


class Network:
    """Namespaces for members 1 to `count`; gone at the end of a `with` block.

    This process is on the bridge, and can reach every member whatever is cut between them.
    """

    def __init__(self, count: int) -> None:
        self._members = range(1, count + 1)
        self._bridge = f"coterie{os.getpid() % 100_000_000}"
        # The addresses of RFC 2544, for tests of networks.
        self._prefix = f"198.18.{os.getpid() % 256}"

    def __enter__(self) -> Self:
        try:
            self._make()
        except BaseException:
            self._unmake()
            raise
        return self

    def __exit__(self, *failure: object) -> None:
        self._unmake()

    def _make(self) -> None:
        bridge = self._bridge
        _ip(f"link add {bridge} type bridge")
        _ip(f"address add {self._prefix}.{_BRIDGE_HOST}/24 dev {bridge}")
        _ip(f"link set {bridge} up")
        for number in self._members:
            name = self._name(number)
            _ip(f"netns add {name}")
            _ip(f"link add name {self._port(number)} type veth peer name eth0 netns {name}")
            _ip(f"link set {self._port(number)} master {bridge} up")
            _ip(f"-n {name} address add {self.host(number)}/24 dev eth0")
            _ip(f"-n {name} link set lo up")
            _ip(f"-n {name} link set eth0 up")

    def _unmake(self) -> None:
        for number in self._members:
            _ip(f"link delete {self._port(number)}", check=False)
            _ip(f"netns delete {self._name(number)}", check=False)
        _ip(f"link delete {self._bridge}", check=False)

    def _name(self, number: int) -> str:
        return f"{self._bridge}-{number}"

    def _port(self, number: int) -> str:
        return f"ct{os.getpid() % 100_000_000}-{number}"

    def host(self, number: int) -> str:
        return f"{self._prefix}.{number}"

    def within(self, number: int) -> list[str]:
        return ["ip", "netns", "exec", self._name(number)]

    def cut(self, sender: int, receiver: int) -> None:
        """What `sender` sends to `receiver` is lost from now on."""
        where = f"{self.host(receiver)} lladdr {_NOBODY} nud permanent dev eth0"
        _ip(f"-n {self._name(sender)} neighbour replace {where}")

    def heal(self, sender: int, receiver: int) -> None:
        _ip(f"-n {self._name(sender)} neighbour delete {self.host(receiver)} dev eth0")


def _ip(command: str, check: bool = True) -> None:
    subprocess.run(["ip", *command.split()], check=check, capture_output=True, timeout=20)
