"""What the commands that talk to servers have in common: their options, and their kinds of word.

Rule: this imports click and no more, as every file does that declares commands. What a command
does is a coroutine in another file, named to `do` and imported when the command runs.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, Final, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

HOSTS: Final = "127.0.0.1:2181"
CONNECTION: Final = ("hosts", "auth", "tls_ca", "tls_cert", "tls_key")
"""The parameters that `where` gives."""

_TLS: Final = (
    ("tls_key", "The key of that certificate, if it is in a file of its own."),
    ("tls_cert", "This client's certificate."),
    ("tls_ca", "Use TLS, and trust these certificates."),
)
_MS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}


class _Path(click.ParamType[str]):
    """The path of a znode; in a shell it may be a relative one."""

    name = "path"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        here = getattr(ctx.obj, "here", None) if ctx is not None else None
        path = value if here is None else join(here, value)
        if not path.startswith("/"):
            self.fail(f"{value!r} is no path: paths of znodes begin with /", param, ctx)
        return path.rstrip("/") or "/"


class _Auth(click.ParamType[tuple[str, str]]):
    """`scheme:credential`, as `digest:me:secret`."""

    name = "auth"

    def convert(
        self, value: str | tuple[str, str], param: click.Parameter | None, ctx: object
    ) -> tuple[str, str]:
        if not isinstance(value, str):
            return value
        scheme, colon, credential = value.partition(":")
        if not scheme or not colon:
            self.fail("it has the form scheme:credential, as digest:me:secret", param)
        return scheme, credential


class _Duration(click.ParamType[int]):
    """A time: milliseconds, or a number with a unit."""

    name = "duration"

    def convert(
        self, value: str | int, param: click.Parameter | None, ctx: click.Context | None
    ) -> int:
        if isinstance(value, int):
            return value
        number = value.rstrip("mshd")
        unit = value[len(number) :] or "ms"
        try:
            ms = round(float(number) * _MS[unit])
        except (ValueError, KeyError, OverflowError):
            self.fail(f"{value!r} is no time: it is as 500, 500ms, 30s, 5m, 2h or 1d", param, ctx)
        if ms <= 0:
            self.fail("it is longer than nothing", param, ctx)
        return ms


PATH: Final = _Path()
AUTH: Final = _Auth()
DURATION: Final = _Duration()


def join(here: str, path: str) -> str:
    """A path as seen from `here`; `.` and `..` are resolved.

    >>> join("/a/b", "../c"), join("/a", "/d"), join("/", "..")
    ('/a/c', '/d', '/')
    """
    parts: list[str] = []
    for part in path.split("/") if path.startswith("/") else [*here.split("/"), *path.split("/")]:
        if part == "..":
            del parts[-1:]
        elif part not in ("", "."):
            parts.append(part)
    return "/" + "/".join(parts)


def where(command: F) -> F:
    """The options that say which servers, and who asks."""
    for name, what in _TLS:
        variable = f"COTERIE_{name.upper()}"
        command = click.option(
            f"--{name.replace('_', '-')}",
            name,
            type=click.Path(dir_okay=False),
            envvar=variable,
            metavar="FILE",
            help=f"{what}  [environment: {variable}]",
        )(command)
    command = click.option(
        "--auth",
        "auth",
        type=AUTH,
        multiple=True,
        envvar="COTERIE_AUTH",
        metavar="SCHEME:CREDENTIAL",
        help="Who asks, as digest:me:secret, or sasl:me:secret for SASL, or kerberos:[KEYTAB]; "
        "may be given more than once.  [environment: COTERIE_AUTH]",
    )(command)
    return click.option(
        "--hosts",
        default=HOSTS,
        envvar="COTERIE_HOSTS",
        metavar="HOST:PORT,...[/ROOT]",
        help=f"The servers.  [environment: COTERIE_HOSTS; default: {HOSTS}]",
    )(command)


def connects(command: F) -> F:
    """All options of a command that asks servers for something."""
    command = click.option("--json", "as_json", is_flag=True, help="For programs.")(command)
    command = click.option(
        "--timeout",
        "timeout_s",
        type=click.FloatRange(0, 86_400, min_open=True),
        default=10.0,
        show_default=True,
        metavar="SECONDS",
        help="How long an answer may take.",
    )(command)
    return where(command)


def path_argument(command: F) -> F:
    return click.argument("path", type=PATH)(command)


def data_options(command: F) -> F:
    """What a znode is to hold: an argument, a file, or standard input."""
    command = click.option(
        "-f",
        "--file",
        type=click.File("rb"),
        help="Take the data from FILE; - is standard input.",
    )(command)
    return click.argument("data", required=False)(command)


def version_option(what: str) -> Callable[[Callable[..., Any]], Any]:
    return click.option(
        "-v", "--version", type=int, default=-1, metavar="N", help=f"Only if {what} is N."
    )


def take_data(given: dict[str, Any], *, demanded: bool) -> None:
    """Put the data that was `given`, in whichever way, as bytes in its place."""
    text, file = given["data"], given.pop("file")
    if text is not None and file is not None:
        raise click.UsageError("Give either DATA or --file.")
    if text is not None:
        given["data"] = as_bytes(text)
    elif file is not None:
        given["data"] = file.read()
    elif demanded:
        in_shell = click.get_current_context().obj is not None
        if in_shell or sys.stdin.isatty():
            raise click.UsageError("Missing the data: give DATA or --file.")
        given["data"] = sys.stdin.buffer.read()
    else:
        given["data"] = b""


def as_bytes(text: str) -> bytes:
    """What was typed, as it was typed."""
    try:
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise click.UsageError("The data is no text; give it by --file.") from None


def do(operation: str, given: dict[str, Any]) -> None:
    """Carry out `module:function`: in a shell with its client, or with one for this alone."""
    context = click.get_current_context()
    shell = context.obj
    if shell is not None:
        shell.carry_out(operation, given)
        return
    from coterie.cli import session

    status = session.one_shot(context.info_name or "", operation, given)
    if status:
        sys.exit(status)
