"""The users of SASL that a configuration names, from their file.

Rules: it is read once, when the server starts; what cannot be used is a `UsersError` of one line
that names the file and says no password.
"""

from __future__ import annotations

from coterie.config import Config
from coterie.core.sasl import Users
from coterie.system.clock import secret_dice
from coterie.system.files import OSFiles
from coterie.users import UsersError, of_jaas, of_lines


def known(config: Config) -> Users | None:
    """Those whom the server lets in by SASL. Raises `UsersError`."""
    path = config.sasl_jaas_file or config.sasl_users_file
    if path is None:
        return None
    try:
        text = _text(path)
        if config.sasl_jaas_file is not None:
            passwords = of_jaas(text, config.sasl_jaas_section)
        else:
            passwords = of_lines(text)
    except OSError as error:
        raise UsersError(f"{path} cannot be read: {error.strerror}") from None
    except UnicodeDecodeError:
        raise UsersError(f"{path} is not UTF-8") from None
    except UsersError as error:
        raise UsersError(f"{path}: {error}") from None
    if config.sasl_super_password is not None and "super" in passwords:
        passwords["super"] = config.sasl_super_password
    return Users(passwords, secret_dice())


def _text(path: str) -> str:
    files = OSFiles()
    return files.read(path, 0, files.size(path)).decode("utf-8")
