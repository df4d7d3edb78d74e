"""Both ends of a context of GSSAPI as they look from outside, without any cryptography."""

from __future__ import annotations

from coterie.wire.gssapi import ContextError

_TICKET = b"ticket of "


class FakeContext:
    """A client's end if it has a name, else a server's; `mutual`: the server proves itself."""

    def __init__(self, name: str | None = None, mutual: bool = True) -> None:
        self._name = name
        self._mutual = mutual
        self._of_client = name is not None
        self._asked = False
        self._stands = False

    def step(self, token: bytes) -> bytes:
        if self._stands:
            raise ContextError("it stands")
        if self._of_client:
            if not token and not self._asked:
                self._asked = True
                self._stands = not self._mutual
                return _TICKET + (self._name or "").encode()
            if token != b"proof":
                raise ContextError("no proof")
            self._stands = True
            return b""
        if not token.startswith(_TICKET):
            raise ContextError("no ticket")
        self._name = token.removeprefix(_TICKET).decode()
        self._stands = True
        return b"proof" if self._mutual else b""

    def stands(self) -> bool:
        return self._stands

    def peer(self) -> str:
        return self._name or ""

    def wrap(self, message: bytes) -> bytes:
        return b"%d:" % self._of_client + message

    def unwrap(self, token: bytes) -> bytes:
        mark = b"%d:" % (not self._of_client)
        if not token.startswith(mark):
            raise ContextError("of another key")
        return token.removeprefix(mark)
