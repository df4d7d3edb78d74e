"""The reference, as Markdown made from the code: names, signatures, docstrings.

Rules: modules are read and not imported, so that a page says what the file says. What begins with
an underscore is not shown, nor is a method without a docstring. Settings and commands come from
their own tables, which are what the server and the command line use.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path
from typing import Final, NamedTuple

import click

from coterie.cli.main import cli
from coterie.config import reference as settings_tables

Function = ast.FunctionDef | ast.AsyncFunctionDef

_LINE: Final = 80
_VALUE: Final = 60


class Page(NamedTuple):
    """One page: where, and what it says."""

    path: str
    text: str


_MODULES: Final[dict[str, tuple[str, str, tuple[str, ...]]]] = {
    "client": (
        "The client's classes",
        "Its page is [the client](../client.md). The blocking client has the same methods, plain.",
        (
            "coterie/client/client.py",
            "coterie/client/transaction.py",
            "coterie/client/watch.py",
            "coterie/client/cache.py",
            "coterie/client/portal.py",
        ),
    ),
    "recipes": (
        "The recipes' classes",
        "What each promises and costs is on [its page](../recipes/README.md).",
        (
            "coterie/recipes/barrier.py",
            "coterie/recipes/claim.py",
            "coterie/recipes/configuration.py",
            "coterie/recipes/counter.py",
            "coterie/recipes/discovery.py",
            "coterie/recipes/election.py",
            "coterie/recipes/grant.py",
            "coterie/recipes/key_store.py",
            "coterie/recipes/lease.py",
            "coterie/recipes/lock.py",
            "coterie/recipes/membership.py",
            "coterie/recipes/partitioner.py",
            "coterie/recipes/read_write_lock.py",
            "coterie/recipes/rendezvous.py",
            "coterie/recipes/semaphore.py",
            "coterie/recipes/two_phase_commit.py",
        ),
    ),
    "gateway": (
        "The gateway kit's classes",
        "What they are for is in [a science gateway, cut into components](../gateway.md).",
        (
            "coterie/gateway/component.py",
            "coterie/gateway/directory.py",
            "coterie/gateway/standby.py",
            "coterie/gateway/fencing.py",
            "coterie/gateway/claims.py",
            "coterie/gateway/announcement.py",
            "coterie/gateway/admission.py",
            "coterie/gateway/draining.py",
            "coterie/gateway/compatibility.py",
        ),
    ),
    "errors": (
        "Errors",
        "All are names in `coterie`. `code` is ZooKeeper's number.",
        ("coterie/errors.py",),
    ),
    "values": (
        "Values",
        "What callers hold and get. All are names in `coterie`.",
        ("coterie/values.py",),
    ),
}


def pages(top: Path) -> Iterator[Page]:
    """All pages of the reference, under `reference/`."""
    for name, (title, opening, modules) in _MODULES.items():
        parts = [f"# {title}", opening, *(_module(top, module) for module in modules)]
        yield Page(f"reference/{name}.md", "\n\n".join(parts) + "\n")
    opening = (
        "The keys of a zoo.cfg. Apache's prefix `zookeeper.` may stand before any of them. "
        "How a server is set up with them is in [deployment](../deployment.md)."
    )
    yield Page("reference/settings.md", f"# Settings\n\n{opening}\n\n{settings_tables()}")
    yield Page("reference/commands.md", _commands())


def _module(top: Path, path: str) -> str:
    tree = ast.parse((top / path).read_text(encoding="utf-8"))
    name = path.removesuffix(".py").replace("/", ".")
    parts = [f"## `{name}`", _prose(ast.get_docstring(tree))]
    for node, above in _with_comments(tree.body):
        if isinstance(node, ast.ClassDef) and _public(node.name):
            parts.append(_class(node))
        elif isinstance(node, Function) and _public(node.name) and ast.get_docstring(node):
            parts.append(_function(node, "###"))
        elif (constant := _attribute(node, above)) is not None:
            parts.append(constant)
    return "\n\n".join(part for part in parts if part)


def _class(node: ast.ClassDef) -> str:
    made = next((f for f in _functions(node) if f.name == "__init__"), None)
    bases = ", ".join(ast.unparse(base) for base in node.bases)
    shown = f"class {node.name}({bases})" if bases else f"class {node.name}"
    if made is not None:
        shown += f"\n\n{node.name}{_arguments(made)}"
    parts = [f"### {node.name}", _code(shown), _prose(ast.get_docstring(node))]
    fields = [
        constant
        for child, below in _with_comments(node.body)
        if (constant := _attribute(child, below)) is not None
    ]
    parts.append("\n".join(fields))
    parts += [
        _function(each, "####", node.name)
        for each in _functions(node)
        if _public(each.name) and ast.get_docstring(each)
    ]
    return "\n\n".join(part for part in parts if part)


def _functions(node: ast.ClassDef) -> Iterator[Function]:
    """Without the faces of one that is overloaded: the last one has the docstring."""
    for child in node.body:
        if isinstance(child, Function):
            names = [ast.unparse(decorator) for decorator in child.decorator_list]
            if "overload" not in names and not any(name.endswith(".setter") for name in names):
                yield child


def _function(node: Function, level: str, owner: str = "") -> str:
    names = [ast.unparse(decorator) for decorator in node.decorator_list]
    name = f"{owner}.{node.name}" if owner else node.name
    if "property" in names or "cached_property" in names:
        returned = f": {ast.unparse(node.returns)}" if node.returns else ""
        shown = f"{node.name}{returned}"
    else:
        word = "async def" if isinstance(node, ast.AsyncFunctionDef) else "def"
        shown = f"{word} {node.name}{_arguments(node)}"
        if "contextmanager" in names or "asynccontextmanager" in names:
            shown = f"@{names[0]}\n{shown}"
    return "\n\n".join([f"{level} {name}", _code(shown), _prose(ast.get_docstring(node))])


def _arguments(node: Function) -> str:
    """The signature, over several lines where it is long."""
    pieces = list(_pieces(node.args))
    if pieces and pieces[0] in ("self", "cls"):
        del pieces[0]
    inside = ", ".join(pieces)
    returned = ast.unparse(node.returns) if node.returns else "None"
    tail = "" if node.name == "__init__" else f" -> {returned}"
    if len(node.name) + len(inside) + len(tail) < _LINE:
        return f"({inside}){tail}"
    lines = "".join(f"    {piece},\n" for piece in pieces)
    return f"(\n{lines}){tail}"


def _pieces(arguments: ast.arguments) -> Iterator[str]:
    """Each argument as it is written, with the marks between them."""
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    for number, (argument, default) in enumerate(zip(plain, defaults, strict=True), 1):
        yield _argument(argument, default)
        if number == len(arguments.posonlyargs):
            yield "/"
    if arguments.vararg is not None:
        yield f"*{_argument(arguments.vararg, None)}"
    elif arguments.kwonlyargs:
        yield "*"
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield _argument(argument, default)
    if arguments.kwarg is not None:
        yield f"**{_argument(arguments.kwarg, None)}"


def _argument(argument: ast.arg, default: ast.expr | None) -> str:
    if argument.annotation is None:
        return argument.arg if default is None else f"{argument.arg}={ast.unparse(default)}"
    shown = f"{argument.arg}: {ast.unparse(argument.annotation)}"
    return shown if default is None else f"{shown} = {ast.unparse(default)}"


def _with_comments(body: list[ast.stmt]) -> Iterator[tuple[ast.stmt, str]]:
    """Each statement with the string right below it, which says what it is."""
    for number, node in enumerate(body):
        below = body[number + 1] if number + 1 < len(body) else None
        text = ""
        if (
            isinstance(below, ast.Expr)
            and isinstance(below.value, ast.Constant)
            and isinstance(below.value.value, str)
        ):
            text = " ".join(below.value.value.split())
        yield node, text


def _attribute(node: ast.stmt, said: str) -> str | None:
    """A field of a class or a constant, as an item of a list."""
    if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
        name, shown = node.target.id, f"{node.target.id}: {ast.unparse(node.annotation)}"
        if node.value is not None and len(ast.unparse(node.value)) < _VALUE:
            shown += f" = {ast.unparse(node.value)}"
    elif (
        isinstance(node, ast.Assign)
        and isinstance(node.targets[0], ast.Name)
        and isinstance(node.value, ast.Constant | ast.UnaryOp)
    ):
        name, shown = node.targets[0].id, ast.unparse(node)
    else:
        return None
    if not _public(name):
        return None
    return f"- `{shown}`" + (f": {said}" if said else "")


def _public(name: str) -> bool:
    return not name.startswith("_")


def _code(text: str) -> str:
    return f"```python\n{text}\n```"


def _prose(text: str | None) -> str:
    """A docstring as Markdown: what is indented in it is code already."""
    return (text or "").replace("<", "&lt;")


def _commands() -> str:
    context = click.Context(cli, info_name="coterie")
    opening = "How they are used is on [the command line](../cli.md) and [tools](../tools.md)."
    parts = ["# Commands", opening]
    for path, command, inner in _all(cli, context):
        help_text = command.get_help(inner)
        parts += [f"## `{path}`", f"```text\n{help_text.rstrip()}\n```"]
    return "\n\n".join(parts) + "\n"


def _all(
    command: click.Command, context: click.Context
) -> Iterator[tuple[str, click.Command, click.Context]]:
    """A command and all that are below it."""
    yield context.command_path, command, context
    if isinstance(command, click.Group):
        for name in command.list_commands(context):
            below = command.get_command(context, name)
            if below is not None and not below.hidden:
                yield from _all(below, _inside(below, name, context))


def _inside(command: click.Command, name: str, above: click.Context) -> click.Context:
    return click.Context(
        command,
        info_name=name,
        parent=above,
        terminal_width=90,
        help_option_names=["-h", "--help"],
    )
