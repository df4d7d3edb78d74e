"""The blocking client is what the asyncio client makes it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tools import blocking


def test_every_operation_is_made_with_its_signature() -> None:
    text = "\n".join(blocking.parts())
    assert "async " not in text
    assert "def get(self, path: str, *, watch: OnEvent | None=None" in text
    assert "self.client.get(path, watch=self._event(watch)" in text
    assert "network" not in text.partition("def connect_blocking")[2]


def test_the_file_is_up_to_date() -> None:
    if not blocking.RUFF.exists():
        pytest.skip("ruff, which formats it, is not installed here: `make lint` checks it")
    written = Path("coterie/client/blocking.py").read_text(encoding="utf-8")
    assert written == blocking.generate()
