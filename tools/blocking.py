"""Writes `coterie/client/blocking.py`, the blocking twin, from the asyncio client.

`python -m tools.blocking` writes it, `--check` says whether it is what would be written. Every
public coroutine of `Client` becomes a method of the same name and signature.
"""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path
from typing import Final

_SOURCES: Final = [Path("coterie/client/carrier.py"), Path("coterie/client/client.py")]
_TARGET: Final = Path("coterie/client/blocking.py")
RUFF: Final = Path(sys.executable).with_name("ruff")
_CLASSES: Final = {"Carrier", "Client"}

_LEFT_OUT: Final = {"start", "close", "states", "add_watch", "remove_watch", "unwatch"}
"""What the twin does by hand, or in another way."""
_PASSED_ON: Final = ["state", "over", "session_id", "session_timeout_ms", "last_zxid"]

_HEAD: Final = '''"""The client for plain threads: every operation of `Client`, waited for.

    with coterie.connect_blocking("host1:2181,host2:2181/app") as zk:
        zk.create("/name", b"value", ephemeral=True)

It may be used from many threads at once. Callbacks run in a thread of their own and may use it.
This file is written by tools/blocking.py.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Sequence
from concurrent.futures import Future
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

from coterie.client.carrier import OnEvent
from coterie.client.client import Client, connect
from coterie.client.portal import Portal
from coterie.client.twins import BlockingCache, BlockingTransaction, BlockingWatch
from coterie.ensemble import Ensemble
from coterie.errors import ZooKeeperError
from coterie.values import ACL, OPEN_ACL, ACLs, Children, Created, Id, SessionState, Stat, Znode

if TYPE_CHECKING:
    from ssl import SSLContext

    from coterie.client.kerberos import Kerberos
    from coterie.system.tls import TLSFiles

T = TypeVar("T")


class BlockingClient:
    """A session with an ensemble, for threads; make it with `connect_blocking`."""

    def __init__(self, client: Client) -> None:
        self.client = client
        """The client that does the work, in the portal's event loop."""
        self.chroot = client.chroot
        self.portal = Portal()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def start(self) -> None:
        """Connect, and wait until a server has taken the session: see `Client.start`."""
        try:
            self.portal.call(self.client.start())
        except BaseException:
            self.portal.close()
            raise

    def close(self) -> None:
        """End the session, with its ephemerals and watches. To close twice does nothing."""
        if not self.portal.loop.is_closed():
            self.portal.call(self.client.close())
            self.portal.close()

    def run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run any coroutine in the client's event loop, for example a recipe's."""
        return self.portal.call(coroutine)

    def submit(self, coroutine: Coroutine[Any, Any, T]) -> Future[T]:
        """As `run`, without waiting: many calls at once over one connection."""
        return self.portal.start(coroutine)

    def on_state(self, callback: Callable[[SessionState], None]) -> Callable[[], None]:
        """Call back at every change of state, in the thread of callbacks."""
        return self.client.on_state(self.portal.outside(callback))

    def _event(self, watch: OnEvent | None) -> OnEvent | None:
        return None if watch is None else self.portal.outside(watch)

    def transaction(self) -> BlockingTransaction:
        """Several changes that all happen or none, at the end of a `with` block."""
        return BlockingTransaction(self.client.transaction(), self.portal)

    def watch(self, path: str, *, recursive: bool = False) -> BlockingWatch:
        """Every change of a znode, or of its whole subtree: iterate over it within `with`."""
        return BlockingWatch(self.client.watch(path, recursive=recursive), self.portal)

    def cache(self, path: str, *, depth: int | None = None) -> BlockingCache:
        """A copy of a znode and what is below it, kept up to date: see `Cache`."""
        return BlockingCache(self.client.cache(path, depth=depth), self.portal)
'''


def generate() -> str:
    """The text of the twin, formatted."""
    return _formatted("\n".join(parts()))


def parts() -> list[str]:
    """The head of the twin, its methods, and how it is made."""
    nodes = [n for path in _SOURCES for n in ast.parse(path.read_text(encoding="utf-8")).body]
    classes = [n for n in nodes if isinstance(n, ast.ClassDef) and n.name in _CLASSES]
    connect = next(n for n in nodes if isinstance(n, ast.FunctionDef) and n.name == "connect")
    found = [_HEAD]
    for node in [member for one in classes for member in one.body]:
        if isinstance(node, ast.FunctionDef) and node.name in _PASSED_ON:
            found.append(_property(node))
        elif isinstance(node, ast.AsyncFunctionDef) and _is_public(node.name):
            found.append(_method(node))
    found.append(_connect(connect))
    return found


def _is_public(name: str) -> bool:
    return not name.startswith("_") and name not in _LEFT_OUT


def _indented(text: str) -> str:
    return "".join(f"    {line}\n" if line else "\n" for line in text.splitlines())


def _docstring(node: ast.FunctionDef | ast.AsyncFunctionDef, indent: str) -> str:
    """As it stands in the source, whose indentation is that of a method."""
    text = ast.get_docstring(node, clean=True) or ""
    lines = [f"{indent}{line}" if line else "" for line in text.splitlines()]
    body = "\n".join(lines).strip()
    return f'{indent}"""{body}\n{indent}"""' if len(lines) > 1 else f'{indent}"""{body}"""'


def _signature(node: ast.FunctionDef | ast.AsyncFunctionDef) -> tuple[str, str]:
    """The arguments as they are declared, and as they are passed on."""
    declared = ast.unparse(node.args)
    passed = [arg.arg for arg in node.args.args if arg.arg != "self"]
    for arg in node.args.kwonlyargs:
        value = f"self._event({arg.arg})" if arg.arg == "watch" else arg.arg
        passed.append(f"{arg.arg}={value}")
    return declared, ", ".join(passed)


def _property(node: ast.FunctionDef) -> str:
    assert node.returns is not None
    text = [
        "@property",
        f"def {node.name}(self) -> {ast.unparse(node.returns)}:",
        _docstring(node, "    "),
        f"    return self.client.{node.name}",
    ]
    if not ast.get_docstring(node):
        del text[2]
    return _indented("\n".join(text))


def _method(node: ast.AsyncFunctionDef) -> str:
    assert node.returns is not None
    declared, passed = _signature(node)
    returns = ast.unparse(node.returns)
    call = f"self.portal.call(self.client.{node.name}({passed}))"
    return _indented(
        "\n".join(
            [
                f"def {node.name}({declared}) -> {returns}:",
                _docstring(node, "    "),
                f"    {call}" if returns == "None" else f"    return {call}",
            ]
        )
    )


def _connect(node: ast.FunctionDef) -> str:
    declared, passed = _signature(node)
    dropped = {"network", "dice"}
    for name in dropped:
        passed = passed.replace(f", {name}={name}", "")
    arguments = ast.parse(f"def f({declared}): ...").body[0]
    assert isinstance(arguments, ast.FunctionDef)
    kept = [
        (arg, default)
        for arg, default in zip(arguments.args.kwonlyargs, arguments.args.kw_defaults, strict=True)
        if arg.arg not in dropped
    ]
    arguments.args.kwonlyargs = [arg for arg, _ in kept]
    arguments.args.kw_defaults = [default for _, default in kept]
    return (
        f"\n\ndef connect_blocking({ast.unparse(arguments.args)}) -> BlockingClient:\n"
        '    """A client for threads: see `connect` for the arguments."""\n'
        f"    return BlockingClient(connect({passed}))\n"
    )


def _formatted(text: str) -> str:
    name = ["--stdin-filename", str(_TARGET)]
    for command in (
        ["check", "--fix", "--quiet", "--exit-zero", *name, "-"],
        ["format", *name, "-"],
    ):
        text = subprocess.run(
            [str(RUFF), *command], input=text, capture_output=True, text=True, check=True
        ).stdout
    return text


def main() -> None:
    text = generate()
    if "--check" in sys.argv:
        if not _TARGET.exists() or _TARGET.read_text(encoding="utf-8") != text:
            sys.exit(f"{_TARGET} is not what the client makes it: run `make fmt`")
        print(f"{_TARGET} is up to date")
    else:
        _TARGET.write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
