"""`coterie serve`: read the configuration, run a server in the foreground, say where it is.

Of an ensemble's member this reads `myid` in its dataDir as well, which says which one it is. Exit
status 2 is for what the operator has to change: the files, the ports, the data directory.
"""

from __future__ import annotations

import logging
import os
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from coterie.config import (
    Config,
    ConfigError,
    dynamic_config_file,
    embedded_default,
    parse,
    with_server_id,
)
from coterie.runtime.process import StartError, run
from coterie.settings import NO_PORT

if TYPE_CHECKING:
    from collections.abc import Callable

    from coterie.runtime.doors import Inside, Pages
    from coterie.runtime.process import ServerProcess

log = logging.getLogger("coterie")


def serve(file: str | None, data: str, host: str | None, port: int | None) -> int:
    """Serve until told to stop; returns the exit status."""
    logging.basicConfig(
        stream=sys.stderr, level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s"
    )
    try:
        config, notices = _configure(file, data, host, port)
        for notice in notices:
            log.info("%s: %s", file, notice)
        end_spans = _export_spans(config)
        try:
            run(config, lambda server: _announce(server, config), _pages)
        finally:
            end_spans()
    except (ConfigError, StartError) as error:
        print(f"coterie serve: {error}", file=sys.stderr)
        return 2
    return 0


def _pages(inside: Inside) -> Pages:
    """Imported when the first connection over HTTP waits."""
    from coterie.console.site import pages

    return pages(inside)


def _export_spans(config: Config) -> Callable[[], None]:
    """Gives what is to be done at the end."""
    if not (config.admin_enabled and config.admin_telemetry):
        return lambda: None
    from coterie.cli.serve_spans import export_spans

    return export_spans(None if config.ensemble is None else str(config.server_id))


def _configure(
    file: str | None, data: str, host: str | None, port: int | None
) -> tuple[Config, list[str]]:
    notices: list[str] = []
    if file is None:
        config = embedded_default(data)
    else:
        config, notices = read(file)
    if host is not None:
        config = replace(config, client_port_address=host)
    if port is not None:
        config = replace(config, client_port=port)
    return config, notices


def read(file: str) -> tuple[Config, list[str]]:
    """What a zoo.cfg says, with the other files that belong to it, and what is to be said of it.

    Raises `ConfigError`.
    """
    text = _read(file)
    try:
        other = dynamic_config_file(text)
        config, notices = parse(text, None if other is None else _read(other))
    except ConfigError as error:
        raise ConfigError(f"{file}: {error}") from None
    if config.ensemble is None:
        return config, notices
    path = os.path.join(config.data_dir, "myid")
    if not os.path.exists(path):
        known = ", ".join(map(str, config.ensemble.seats))
        raise ConfigError(f"{path} is missing: it says which server this is, one of {known}")
    myid = _read(path)
    try:
        config, more = with_server_id(config, myid)
    except ConfigError as error:
        where = path if error.key == "myid" else file
        raise ConfigError(f"{where}: {error.reason if error.key == 'myid' else error}") from None
    return config, notices + more


def _read(file: str) -> str:
    try:
        return Path(file).read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"cannot read {file}: {reason}") from None


def _announce(server: ServerProcess, config: Config) -> None:
    """Say where it listens, where its data is, and how to connect."""
    only_tls = config.client_port == NO_PORT
    given = config.secure_port_address if only_tls else config.client_port_address
    host = given or "0.0.0.0"
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    where = f"[{shown}]:{server.port}" if ":" in shown else f"{shown}:{server.port}"
    connect = f'python: KazooClient("{where}")   shell: zkCli.sh -server {where}'
    if only_tls:
        connect = f"coterie ls / --hosts tls://{where} --tls-ca FILE --tls-cert FILE"
    what = "Coterie serves"
    if config.ensemble is not None:
        what = f"Coterie is server {config.server_id} of {len(config.ensemble.seats)}"
    print(
        f"{what} at {host}:{server.port}\n"
        f"data in    {os.path.abspath(config.data_dir)}\n"
        f"{_pages_at(server)}"
        f"{_tls_at(server, only_tls)}"
        f"connect    {connect}\n"
        "stop       Ctrl-C",
        flush=True,
    )


def _tls_at(server: ServerProcess, only_tls: bool) -> str:
    """The line about TLS for clients, where there is any."""
    config = server.config
    places = []
    if server.secure_port is not None:
        places.append(f"{config.secure_port_address or '0.0.0.0'}:{server.secure_port}")
    if config.client_port_unified and not only_tls:
        places.append(f"{config.client_port_address or '0.0.0.0'}:{server.port}, as in the clear")
    return f"TLS        at {' and '.join(places)}\n" if places else ""


def _pages_at(server: ServerProcess) -> str:
    """The line about the pages, where there are any."""
    pages = [door for door in server.doors if not door.metrics_only]
    if not pages:
        return ""
    host = server.config.admin_address
    shown = "127.0.0.1" if host in ("0.0.0.0", "::") else host
    where = f"[{shown}]" if ":" in shown else shown
    scheme = "https" if server.config.admin_tls_only else "http"
    return f"pages      {scheme}://{where}:{pages[0].port}/\n"
