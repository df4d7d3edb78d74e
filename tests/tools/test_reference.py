"""The reference: what is shown of a module, and that nothing of the public face is left out."""

from __future__ import annotations

import ast
from pathlib import Path

import click

import coterie
from coterie.cli.main import cli
from coterie.config import SETTINGS
from tools import reference

_TOP = Path(__file__).parent.parent.parent
_PAGES = {page.path: page.text for page in reference.pages(_TOP)}

_MODULE = '''"""What it is: a & b < c."""

LIMIT: Final = 3
"""How many."""
_HIDDEN = 4


class Box(Base):
    """Holds things."""

    size: int = 2
    """How large."""

    def __init__(self, size: int, *, lid: bool = False) -> None:
        self.size = size

    @property
    def full(self) -> bool:
        """Whether nothing more goes in."""

    @overload
    def put(self, thing: int) -> None: ...
    @overload
    def put(self, thing: str) -> None: ...
    async def put(
        self, thing: int | str, a_long_name: dict[str, int] = {}, b: str = "a, b", /, **more: int
    ) -> None:
        """Put it in."""

    def _secret(self) -> None:
        """Not shown."""

    def silent(self) -> None: ...


def made(*sizes: int) -> Box:
    """Make one."""
'''


def test_a_module(tmp_path: Path) -> None:
    (tmp_path / "coterie").mkdir()
    (tmp_path / "coterie/box.py").write_text(_MODULE)
    shown = reference._module(tmp_path, "coterie/box.py")
    for part in (
        "## `coterie.box`\n\nWhat it is: a & b &lt; c.",
        "- `LIMIT: Final = 3`: How many.",
        "### Box\n\n```python\nclass Box(Base)\n\nBox(size: int, *, lid: bool = False)\n```",
        "- `size: int = 2`: How large.",
        "#### Box.full\n\n```python\nfull: bool\n```\n\nWhether nothing more goes in.",
        "    a_long_name: dict[str, int] = {},\n    b: str = 'a, b',\n    /,\n    **more: int,\n)",
        "```python\nasync def put(\n    thing: int | str,\n",
        "### made\n\n```python\ndef made(*sizes: int) -> Box\n```\n\nMake one.",
    ):
        assert part in shown, shown
    for word in ("_HIDDEN", "_secret", "silent"):
        assert word not in shown
    assert shown.count("#### Box.put") == 1


def test_every_module_that_is_named_is_there_and_says_something() -> None:
    for title, _, modules in reference._MODULES.values():
        assert title
        assert all((_TOP / module).is_file() for module in modules)


def test_every_setting_is_there() -> None:
    assert all(f"| `{key}` |" in _PAGES["reference/settings.md"] for key in SETTINGS)


def test_every_command_is_there_with_its_help() -> None:
    text = _PAGES["reference/commands.md"]
    for name in cli.list_commands(click.Context(cli)):
        assert f"## `coterie {name}`" in text
    assert "## `coterie ensemble start`" in text
    assert text.count("--help") >= text.count("\n## ")


def test_errors_and_values_are_those_that_coterie_has() -> None:
    """What a program can import from `coterie`, it finds here."""
    for name in ("errors", "values"):
        tree = ast.parse((_TOP / f"coterie/{name}.py").read_text(encoding="utf-8"))
        for node in tree.body:
            if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
                assert f"### {node.name}\n" in _PAGES[f"reference/{name}.md"]
                assert hasattr(coterie, node.name)


def test_the_blocking_clients_page_is_the_clients() -> None:
    assert "#### Client.create\n" in _PAGES["reference/client.md"]
    assert "### connect\n" in _PAGES["reference/client.md"]
