"""Without the package of Kerberos all is as before, and who asks for it is told; what the package
does is tested with a KDC in tests/kerberos."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType

import pytest

from coterie.system import kerberos
from coterie.system.kerberos import KerberosError


def test_it_is_imported_only_when_it_is_asked_for() -> None:
    modules = "sys, coterie.client.kerberos, coterie.runtime.process"
    program = f"import {modules}; print('gssapi' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, check=True)
    assert done.stdout.strip() == b"False"


def test_who_asks_for_it_in_vain_is_told_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", None)
    for ask in (
        lambda: kerberos.check(None),
        lambda: kerberos.acceptor("keytab", None),
        kerberos.default_realm,
    ):
        with pytest.raises(KerberosError, match=r"pip install 'coterie\[kerberos\]'"):
            ask()


def test_a_keytab_that_is_not_there_is_named(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setitem(sys.modules, "gssapi", ModuleType("gssapi"))
    with pytest.raises(KerberosError, match=r"the keytab .*/none cannot be read"):
        kerberos.check(str(tmp_path / "none"))
