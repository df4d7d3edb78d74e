"""The code in the documents does what it says: Python blocks are run against a live server.

How a block is marked says what becomes of it:

    ```python            has to be Python
    ```python run        runs; the blocks of a page run in order, with the same names
    ```python test       is a file of tests, for pytest with Coterie's plugin;
                         `test asyncio` and `test anyio`: with pytest-asyncio, with anyio

A block that runs may `await`. It finds a connected client as `zk`, and 127.0.0.1:2181 is a server
that stands in for the reader's, with a root of its own.
"""

from __future__ import annotations

import ast
import asyncio
import inspect
import re
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import CodeType
from typing import Any, Final, NamedTuple

import pytest

import coterie

pytest_plugins = ["pytester"]

_TOP: Final = Path(__file__).parent.parent.parent
_PAGES: Final = sorted([_TOP / "README.md", *(_TOP / "docs").rglob("*.md")])
_FENCE: Final = re.compile(r"( *)(```+)(.*)")
_ADDRESS: Final = "127.0.0.1:2181"
_MARKS: Final = ((), ("run",), ("test",), ("test", "asyncio"), ("test", "anyio"))


class Block(NamedTuple):
    """One fenced block of Python, and the line of its first line."""

    page: str
    line: int
    marks: tuple[str, ...]
    text: str

    def code(self) -> CodeType:
        """Compiled, so that a failure names the page and the line in it."""
        text = "\n" * (self.line - 1) + self.text
        flags = ast.PyCF_ALLOW_TOP_LEVEL_AWAIT
        code: CodeType = compile(text, self.page, "exec", flags=flags, dont_inherit=True)
        return code


def _blocks(page: str, text: str) -> list[Block]:
    """The Python blocks of a page; those within other blocks are none."""
    found: list[Block] = []
    lines = text.split("\n")
    number = 0
    while number < len(lines):
        opening = _FENCE.fullmatch(lines[number])
        number += 1
        if opening is None:
            continue
        indent, fence, info = opening.groups()
        first = number
        while number < len(lines) and lines[number].strip() != fence:
            number += 1
        words = info.split()
        if words[:1] == ["python"]:
            inside = [line.removeprefix(indent) for line in lines[first:number]]
            found.append(Block(page, first + 1, tuple(words[1:]), "\n".join(inside) + "\n"))
        number += 1
    return found


_BLOCKS: Final = [
    block
    for path in _PAGES
    for block in _blocks(str(path.relative_to(_TOP)), path.read_text(encoding="utf-8"))
]
_RUN: Final = sorted({block.page for block in _BLOCKS if block.marks == ("run",)})
_TEST: Final = [block for block in _BLOCKS if block.marks[:1] == ("test",)]


async def _run(blocks: list[Block], hosts: str) -> dict[str, Any]:
    """Run the blocks of a page; returns the names that they have made."""
    names: dict[str, Any] = {"__name__": "__main__"}
    async with coterie.connect(hosts) as zk:
        names["zk"] = zk
        for block in blocks:
            told = block._replace(text=block.text.replace(_ADDRESS, hosts))
            awaited = eval(told.code(), names)
            if inspect.iscoroutine(awaited):
                await awaited
    return names


@pytest.mark.parametrize("block", _BLOCKS, ids=lambda block: f"{block.page}:{block.line}")
def test_it_is_python(block: Block) -> None:
    assert block.marks in _MARKS, f"{block.page}:{block.line}: {block.marks}"
    block.code()


def _run_beside(main: Coroutine[Any, Any, Any]) -> Any:
    """`coterie.run` for a block, which is run in an event loop itself: in another thread."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, main).result()


@pytest.mark.parametrize("page", _RUN)
def test_it_runs(page: str, coterie_hosts: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(coterie, "run", _run_beside)
    blocks = [block for block in _BLOCKS if (block.page, block.marks) == (page, ("run",))]
    asyncio.run(_run(blocks, coterie_hosts))


@pytest.mark.parametrize("block", _TEST, ids=lambda block: f"{block.page}:{block.line}")
def test_its_tests_pass(block: Block, pytester: pytest.Pytester) -> None:
    pytester.makepyfile(block.text)
    runners = {"asyncio", "anyio"} - set(block.marks)
    options = [word for name in sorted(runners) for word in ("-p", f"no:{name}")]
    if "asyncio" in block.marks:
        options += ["-o", "asyncio_default_fixture_loop_scope=function"]
    # Hypothesis is imported anew by every inner run otherwise, which takes seconds.
    result = pytester.runpytest_inprocess("-W", "error", "-p", "no:hypothesispytest", *options)
    outcomes = result.parseoutcomes()
    assert result.ret == 0, f"{block.page}:{block.line}"
    assert set(outcomes) == {"passed"}


_PAGE = """
# Title

```python
a = 1
```

   ```python run
   b = 2
   if b:
       c = 3
   ```

````markdown
```python run
no block
```
````

```sh
python run
```

```python test anyio
```
"""


def test_what_a_block_is() -> None:
    assert _blocks("page.md", _PAGE) == [
        Block("page.md", 5, (), "a = 1\n"),
        Block("page.md", 9, ("run",), "b = 2\nif b:\n    c = 3\n"),
        Block("page.md", 25, ("test", "anyio"), "\n"),
    ]


def test_blocks_share_names_and_a_server(coterie_hosts: str) -> None:
    first = Block("page.md", 1, ("run",), "made = await zk.create('/made', b'x')\n")
    text = f"""
import coterie
with coterie.connect_blocking("{_ADDRESS}") as other:
    found = other.get(made).data
"""
    names = asyncio.run(_run([first, Block("page.md", 9, ("run",), text)], coterie_hosts))
    assert names["found"] == b"x"


def test_a_failure_names_the_line_of_the_page(coterie_hosts: str) -> None:
    block = Block("page.md", 40, ("run",), "\n1 / 0\n")
    with pytest.raises(ZeroDivisionError) as caught:
        asyncio.run(_run([block], coterie_hosts))
    last = caught.traceback[-1]
    assert (str(last.path).rpartition("/")[2], last.lineno + 1) == ("page.md", 41)
