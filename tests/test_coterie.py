"""The public names."""

from __future__ import annotations

import subprocess
import sys

import pytest

import coterie


def test_every_public_name_is_there() -> None:
    assert coterie.connect is not None
    assert coterie.connect_blocking is not None
    assert issubclass(coterie.NoNodeError, coterie.ZooKeeperError)
    assert issubclass(coterie.OutcomeUnknown, coterie.ConnectionLossError)
    assert coterie.SessionState.CONNECTED.connected
    with pytest.raises(AttributeError, match="no_such_name"):
        coterie.no_such_name  # type: ignore[attr-defined]  # noqa: B018


def test_a_coroutine_is_run() -> None:
    async def main() -> int:
        return 7

    assert coterie.run(main()) == 7


def test_who_imports_the_package_loads_no_client() -> None:
    code = "import coterie, sys; sys.exit('coterie.client' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
