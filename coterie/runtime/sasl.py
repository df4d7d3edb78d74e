"""What a configuration says about SASL between members: as whom this one dials, and whom it hears.

Rules: what cannot be used when the server starts is a `UsersError` of one line; a file that others
than the server's user and group may read is refused. The file is looked at for each link, and what
cannot be used later changes nothing.
"""

from __future__ import annotations

from typing import NamedTuple

from coterie.config import Config
from coterie.core.introduction import Hearing, Introduction, Proving
from coterie.core.link import Link
from coterie.core.sasl import Users
from coterie.runtime.users import read
from coterie.system.clock import secret_dice
from coterie.system.followed import Followed
from coterie.system.owners import is_for_all
from coterie.users import UsersError, login_of_jaas, of_jaas
from coterie.wire.digest_client import Sasl
from coterie.wire.peers import SASL_NAME


class _Secrets(NamedTuple):
    """Both sections of the file."""

    user: str
    password: str
    users: Users


class MemberSasl:
    """How a member introduces itself to others, and what it asks of them.

    Raises `UsersError`.
    """

    def __init__(self, config: Config) -> None:
        path = config.quorum_jaas_file or config.sasl_jaas_file
        assert path is not None
        self._config = config
        self._path = path
        self._dice = secret_dice()
        self._secrets = Followed("users among members", (path,), self._read, (UsersError,))

    def introduction(self, link: Link) -> Introduction | None:
        """What is to be done on a link before its member is there; None: nothing."""
        config, secrets = self._config, self._secrets.now()
        if not link.dialled:
            return Hearing(link.kind, secrets.users, config.quorum_sasl_demanded)
        if not config.quorum_sasl_dials:
            return None
        return Proving(Sasl(secrets.user, secrets.password, self._dice, SASL_NAME))

    def _read(self) -> _Secrets:
        found = read(self._path, self._of_text)
        if is_for_all(self._path):
            raise UsersError(f"{self._path} may be read by every user of this machine: chmod 600")
        return found

    def _of_text(self, text: str) -> _Secrets:
        config = self._config
        passwords = of_jaas(text, config.quorum_sasl_server_section)
        user, password = login_of_jaas(text, config.quorum_sasl_learner_section)
        return _Secrets(user, password, Users(passwords, self._dice, SASL_NAME))
