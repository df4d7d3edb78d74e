"""A connect string, and which of its servers to try next.

`host1:2181,host2:2181/chroot` names servers and, if need be, the znode that is the client's root.
Rules:
- the order is drawn once from the given generator, so that clients spread over the servers, and
  then kept: every server is tried before any is tried again;
- a name is looked up again whenever its turn comes, and each address that it has then is tried
  (ZOOKEEPER-2184);
- before each try there is a moment's wait by chance, so that those who lost one server do not all
  come to the next at once; after a round in which nobody answered it is longer each time.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from coterie import paths

if TYPE_CHECKING:
    from random import Random

DEFAULT_PORT: Final = 2181
_SCATTER_MS: Final = 20.0
_PAUSE_MS_MIN: Final = 50.0
_PAUSE_MS_MAX: Final = 1000.0


class HostsError(ValueError):
    """The connect string cannot be understood; the message says which part."""


class Host(NamedTuple):
    """A server as the connect string names it."""

    name: str
    port: int

    def __str__(self) -> str:
        return f"[{self.name}]:{self.port}" if ":" in self.name else f"{self.name}:{self.port}"


class ConnectString(NamedTuple):
    """What a connect string says. `chroot` is empty or a path without a slash at its end."""

    hosts: tuple[Host, ...]
    chroot: str = ""

    @classmethod
    def parse(cls, text: str) -> ConnectString:
        """Raises `HostsError`.

        >>> ConnectString.parse("a:1, [::1]:2/app")
        ConnectString(hosts=(Host(name='a', port=1), Host(name='::1', port=2)), chroot='/app')
        """
        servers, slash, chroot = text.partition("/")
        root = (slash + chroot).rstrip("/")
        if root and not paths.valid(root.encode("utf-8", "surrogatepass")):
            raise HostsError(f"{root!r} is no path that a client can have as its root")
        hosts = tuple(_host(part.strip()) for part in servers.split(",") if part.strip())
        if not hosts:
            raise HostsError(f"{text!r} names no server")
        return cls(hosts, root)

    def __str__(self) -> str:
        return ",".join(map(str, self.hosts)) + self.chroot


def _host(part: str) -> Host:
    if part.startswith("["):
        name, bracket, rest = part[1:].partition("]")
        port = rest.removeprefix(":")
        if not bracket or (rest and not rest.startswith(":")):
            raise HostsError(f"{part!r} is no host:port")
    elif part.count(":") > 1:
        raise HostsError(f"{part!r}: an IPv6 address stands in brackets, as in [::1]:2181")
    else:
        name, _, port = part.partition(":")
    if not name:
        raise HostsError(f"{part!r} names no host")
    if port and not (port.isascii() and port.isdigit() and 0 < int(port) < 65536):
        raise HostsError(f"{part!r}: {port!r} is no port")
    return Host(name, int(port or DEFAULT_PORT))


class Rounds:
    """Which server comes next, and how long to wait before it."""

    def __init__(self, hosts: tuple[Host, ...], dice: Random) -> None:
        self._dice = dice
        self._hosts = list(hosts)
        dice.shuffle(self._hosts)
        self._next = 0
        self._failed = 0
        """How many have failed since one was good for a while."""

    def next(self) -> tuple[Host, float]:
        """The server to try, and the milliseconds to wait before that."""
        host = self._hosts[self._next % len(self._hosts)]
        self._next += 1
        rounds = self._failed // len(self._hosts)
        self._failed += 1
        if not rounds:
            return host, self._dice.random() * _SCATTER_MS
        longest = min(_PAUSE_MS_MIN * 2.0**rounds, _PAUSE_MS_MAX)
        return host, longest * self._dice.random()

    def was_good(self) -> None:
        """The server that was tried last has served for a while."""
        self._failed = 0
