"""Two TLS contexts shake hands in memory."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from ssl import MemoryBIO, SSLContext, SSLObject

from coterie.system.tls import server_name


def _step(side: SSLObject, step: Callable[[], object]) -> bool:
    try:
        step()
    except ssl.SSLWantReadError:
        return False
    return True


def talk(client: SSLContext, server: SSLContext, name: str = "zk.example") -> None:
    """Shake hands and send a byte each way, or raise what the client saw."""
    there, back = MemoryBIO(), MemoryBIO()
    ours = client.wrap_bio(back, there, server_hostname=server_name(name))
    theirs = server.wrap_bio(there, back, server_side=True)
    shaken = [False, False]
    for _ in range(10):
        shaken[0] = shaken[0] or _step(ours, ours.do_handshake)
        try:
            shaken[1] = shaken[1] or _step(theirs, theirs.do_handshake)
        except ssl.SSLError:
            break
    if all(shaken):
        theirs.write(b"x")
    assert ours.read(1) == b"x"
