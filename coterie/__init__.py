"""Coterie: a coordination service that speaks Apache ZooKeeper's protocols and file formats.

The names that a program needs are here: `connect` and `connect_blocking`, the clients that these
give, what they return and what they raise; and `run`, which runs a coroutine in a fast event loop.
They are imported when they are first used, so that who starts a server does not load a client.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from coterie.client.blocking import BlockingClient as BlockingClient
    from coterie.client.blocking import connect_blocking as connect_blocking
    from coterie.client.client import Client as Client
    from coterie.client.client import connect as connect
    from coterie.client.kerberos import Kerberos as Kerberos
    from coterie.errors import *  # noqa: F403
    from coterie.system.kerberos import KerberosError as KerberosError
    from coterie.system.tls import TLSError as TLSError
    from coterie.system.tls import TLSFiles as TLSFiles
    from coterie.system.transport import run as run
    from coterie.values import *  # noqa: F403

__version__ = "0.1.0"

_HOMES = {
    "connect": "coterie.client.client",
    "Client": "coterie.client.client",
    "connect_blocking": "coterie.client.blocking",
    "BlockingClient": "coterie.client.blocking",
    "run": "coterie.system.transport",
    "TLSFiles": "coterie.system.tls",
    "TLSError": "coterie.system.tls",
    "Kerberos": "coterie.client.kerberos",
    "KerberosError": "coterie.system.kerberos",
}

if not TYPE_CHECKING:

    def __getattr__(name):
        for home in (_HOMES.get(name), "coterie.values", "coterie.errors"):
            if home is not None and not name.startswith("_"):
                module = import_module(home)
                if hasattr(module, name):
                    return getattr(module, name)
        raise AttributeError(f"module 'coterie' has no attribute {name!r}")
