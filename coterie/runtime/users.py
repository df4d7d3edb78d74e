"""The users of SASL that a configuration names, from their file, and anew when it has changed.

Rules: what cannot be used when the server starts is a `UsersError` of one line that names the file
and says no password; what cannot be used later changes nothing. Who has come in stays.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from typing import Final, TypeVar

from coterie.config import Config
from coterie.core.sasl import Users
from coterie.system.clock import secret_dice
from coterie.system.files import OSFiles
from coterie.system.followed import Followed
from coterie.system.owners import is_for_all
from coterie.users import UsersError, of_jaas, of_lines

log = logging.getLogger("coterie.server")

T = TypeVar("T")

_LOOK_S: Final = 2.0
"""Time between two looks at the file."""


class KnownUsers:
    """Those whom a server lets in by SASL: `users`, as their file at `path` has them."""

    def __init__(self, path: str, passwords: Callable[[], dict[str, str]]) -> None:
        self._followed = Followed("users of SASL", (path,), passwords, (UsersError,))
        self._passwords = self._followed.now()
        self.users = Users(self._passwords, secret_dice())
        self._looking: asyncio.TimerHandle | None = None

    def follow(self) -> None:
        """Look at the file from time to time, until `close`."""
        self.look()
        loop = asyncio.get_running_loop()
        self._looking = loop.call_later(_LOOK_S, self.follow)

    def look(self) -> None:
        """Take what the file has in it now."""
        passwords = self._followed.now()
        if passwords is not self._passwords:
            self._passwords = passwords
            self.users.replace(passwords)

    def close(self) -> None:
        if self._looking is not None:
            self._looking.cancel()


def known(config: Config) -> KnownUsers | None:
    """Those whom the server lets in by SASL, if anybody. Raises `UsersError`."""
    path = config.sasl_jaas_file or config.sasl_users_file
    if path is None:
        return None

    def of_text(text: str) -> dict[str, str]:
        if config.sasl_jaas_file is None:
            passwords = of_lines(text)
        else:
            passwords = of_jaas(text, config.sasl_jaas_section)
        if config.sasl_super_password is not None and "super" in passwords:
            passwords["super"] = config.sasl_super_password
        return passwords

    found = KnownUsers(path, lambda: read(path, of_text))
    if is_for_all(path):
        log.warning("%s has passwords in it and every user of this machine may read it", path)
    return found


def read(path: str, of_text: Callable[[str], T]) -> T:
    """What is in a file. Raises `UsersError`."""
    files = OSFiles()
    try:
        return of_text(files.read(path, 0, files.size(path)).decode("utf-8"))
    except OSError as error:
        raise UsersError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsersError(f"{path} is not UTF-8") from None
    except UsersError as error:
        raise UsersError(f"{path}: {error}") from None
