"""What could be typed next."""

from __future__ import annotations

import pytest

from coterie.cli.completion import complete
from coterie.cli.zkcli import COMMANDS

_CHILDREN = {
    "/": ["app", "apple", "zookeeper"],
    "/app/": ["two words", "x#y"],
    ".": ["here", "there"],
    "sub/": ["one"],
}


def words(line: str) -> list[str]:
    return complete(line, COMMANDS, lambda path: _CHILDREN.get(path, [])).words


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("get /a", ["/app", "/apple"]),
        ("get /apx", []),
        ("get -s /z", ["/zookeeper"]),
        ("get ", ["here", "there"]),
        ("cd t", ["there"]),
        ("ls sub/", ["sub/one"]),
        ("ls /app/tw", [r"/app/two\ words"]),
        (r"ls /app/two\ w", [r"/app/two\ words"]),
        ("ls /app/x", [r"/app/x\#y"]),
        ("getac", ["getAcl"]),
        ("DELETEA", ["deleteall"]),
        ("help setq", ["setquota"]),
        ("setquota -", ["-B", "-N", "-b", "-n"]),
        ("get --r", ["--raw"]),
        ("nonsense -", []),
    ],
)
def test_words(line: str, found: list[str]) -> None:
    assert words(line) == found


def test_all_commands_at_the_beginning() -> None:
    assert {"get", "getAcl", "quit"} <= set(words(""))


def test_what_was_begun_is_replaced() -> None:
    assert complete("get /a", COMMANDS, lambda path: []).begun == "/a"
    assert complete(r"get /a\ b", COMMANDS, lambda path: []).begun == r"/a\ b"
    assert complete("get ", COMMANDS, lambda path: []).begun == ""


def test_the_server_is_asked_for_paths_alone() -> None:
    def fail(path: str) -> list[str]:
        raise AssertionError(path)

    complete("ge", COMMANDS, fail)
    complete("get -", COMMANDS, fail)
