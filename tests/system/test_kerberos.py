"""Without the package of Kerberos all is as before, and who asks for it is told; what the package
does is tested with a KDC in tests/kerberos."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from coterie.system import kerberos
from coterie.system.kerberos import KerberosError
from coterie.wire.gssapi import ContextError


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


class _GSSError(Exception):
    maj_code, min_code = 1, 0

    def get_all_statuses(self, code: int, is_major: bool) -> list[str]:
        return ["the context is gone"]


class _Name:
    """As the package has it, whose text is of the bytes that the other end has proved."""

    def __init__(self, name: bytes) -> None:
        self._name = name

    def __str__(self) -> str:
        return self._name.decode()


class _Standing:
    """A context that stands, and whose properties may fail as any call of GSSAPI may."""

    locally_initiated = False

    def __init__(self, name: bytes | None = None, flags: int | None = 0) -> None:
        self.initiator_name = None if name is None else _Name(name)
        self._flags = flags

    @property
    def actual_flags(self) -> int:
        if self._flags is None:
            raise _GSSError
        return self._flags

    complete = actual_flags


@pytest.fixture
def package(monkeypatch: pytest.MonkeyPatch) -> None:
    made: Any = ModuleType("gssapi")
    made.exceptions = ModuleType("gssapi.exceptions")
    made.exceptions.GSSError = _GSSError
    made.RequirementFlag = type("RequirementFlag", (), {"anonymity": 64})
    monkeypatch.setitem(sys.modules, "gssapi", made)


@pytest.mark.usefixtures("package")
def test_a_name_that_cannot_be_had_is_an_error_of_the_context() -> None:
    def of(context: Any) -> kerberos.Context:
        return kerberos.Context(context)

    assert of(_Standing("ann/ü@A".encode())).peer() == "ann/ü@A"
    for context, why in (
        (_Standing(b"ann\xff@A"), "no UTF-8"),
        (_Standing(b"WELLKNOWN/ANONYMOUS@A", 64), "nobody in particular"),
        (_Standing(None), "nobody in particular"),
        (_Standing(b"ann@A", None), "the context is gone"),
    ):
        with pytest.raises(ContextError, match=why):
            of(context).peer()
    with pytest.raises(ContextError, match="the context is gone"):
        of(_Standing(b"ann@A", None)).stands()
