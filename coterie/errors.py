"""One exception class for each ZooKeeper error code, and the table from code to class.

Codes and their meaning are ZooKeeper's own (`KeeperException.Code`). The server sends the code;
the client raises the class. `code` is a class attribute, so a class is the name of its code.
"""

from __future__ import annotations

from typing import ClassVar, Final

OK: Final = 0


class ZooKeeperError(Exception):
    """A request that ZooKeeper refused, or that could not be carried to it.

    `path` is the znode it was about and `operation` what was tried, as far as they are known.
    """

    code: ClassVar[int] = -1

    def __init__(self, path: str | None = None, operation: str | None = None) -> None:
        super().__init__(path, operation)
        self.path = path
        self.operation = operation

    def __str__(self) -> str:
        meaning = (self.__doc__ or "").partition("\n")[0].rstrip(".")
        where = " ".join(part for part in (self.operation, self.path) if part)
        return f"{where}: {meaning}" if where else meaning


class ServerFailureError(ZooKeeperError):
    """The server failed in a way that is not the client's fault."""

    code = -1


class RuntimeInconsistencyError(ZooKeeperError):
    """Not executed, because an earlier operation of the same multi failed."""

    code = -2


class DataInconsistencyError(ZooKeeperError):
    """The server found its data inconsistent."""

    code = -3


class ConnectionLossError(ZooKeeperError):
    """The connection was lost; whether the request took effect is unknown."""

    code = -4


class MarshallingError(ZooKeeperError):
    """The request could not be decoded or encoded."""

    code = -5


class UnimplementedError(ZooKeeperError):
    """The server does not know this operation."""

    code = -6


class OperationTimeoutError(ZooKeeperError):
    """No answer came within the operation's deadline."""

    code = -7


class BadArgumentsError(ZooKeeperError):
    """The arguments are not valid, for example the path."""

    code = -8


class UnknownSessionError(ZooKeeperError):
    """The server does not know this session."""

    code = -12


class NewConfigNoQuorumError(ZooKeeperError):
    """No quorum of the new configuration is connected and up to date."""

    code = -13


class ReconfigInProgressError(ZooKeeperError):
    """Another reconfiguration is in progress."""

    code = -14


class ApiError(ZooKeeperError):
    """The request was refused by ZooKeeper's API rules."""

    code = -100


class NoNodeError(ZooKeeperError):
    """The znode does not exist."""

    code = -101


class NoAuthError(ZooKeeperError):
    """The znode's ACL does not permit this to the identities of the connection."""

    code = -102


class BadVersionError(ZooKeeperError):
    """The znode has another version than the one given."""

    code = -103


class NoChildrenForEphemeralsError(ZooKeeperError):
    """Ephemeral znodes cannot have children."""

    code = -108


class NodeExistsError(ZooKeeperError):
    """The znode exists already."""

    code = -110


class NotEmptyError(ZooKeeperError):
    """The znode has children."""

    code = -111


class SessionExpiredError(ZooKeeperError):
    """The session has expired or was closed."""

    code = -112


class InvalidCallbackError(ZooKeeperError):
    """The callback is not valid."""

    code = -113


class InvalidACLError(ZooKeeperError):
    """The ACL is empty or has an entry that no scheme accepts."""

    code = -114


class AuthFailedError(ZooKeeperError):
    """The authentication was refused."""

    code = -115


class SessionMovedError(ZooKeeperError):
    """The session has moved to another server."""

    code = -118


class NotReadOnlyError(ZooKeeperError):
    """The server is read-only, and the request would change something."""

    code = -119


class EphemeralOnLocalSessionError(ZooKeeperError):
    """Local sessions cannot create ephemeral znodes."""

    code = -120


class NoWatcherError(ZooKeeperError):
    """There is no such watch."""

    code = -121


class RequestTimeoutError(ZooKeeperError):
    """The request timed out."""

    code = -122


class ReconfigDisabledError(ZooKeeperError):
    """Reconfiguration is switched off."""

    code = -123


class AuthenticationRequiredError(ZooKeeperError):
    """The server demands an authentication that this session does not have."""

    code = -124


class QuotaExceededError(ZooKeeperError):
    """A hard quota on this path or above it would be exceeded."""

    code = -125


class ThrottledError(ZooKeeperError):
    """The server was too busy and did not execute the request."""

    code = -127


def _concrete(cls: type[ZooKeeperError]) -> list[type[ZooKeeperError]]:
    return [cls, *(leaf for child in cls.__subclasses__() for leaf in _concrete(child))]


BY_CODE: Final[dict[int, type[ZooKeeperError]]] = {
    cls.code: cls for cls in _concrete(ZooKeeperError) if cls is not ZooKeeperError
}


class OutcomeUnknown(ConnectionLossError):  # noqa: N818
    """The write was sent and no answer came; it may have taken effect, or may yet."""


class NotConnectedError(ConnectionLossError):
    """No server has taken the session."""


class GrantLostError(ZooKeeperError):
    """What was granted (a lock, a lease, a leadership, a claim) is not held any more."""


class TooLargeError(BadArgumentsError):
    """The request, or the answer to it, is larger than may be sent; nothing was sent."""


class ForkedError(RuntimeError):
    """The process was forked while it held this client; make another in the child."""


class UnknownError(ZooKeeperError):
    """The server sent an error code that this version does not know."""

    def __init__(
        self, path: str | None = None, operation: str | None = None, code: int = -1
    ) -> None:
        super().__init__(path, operation)
        self.unknown_code = code

    def __str__(self) -> str:
        return f"{super().__str__()}: {self.unknown_code}"


def from_code(code: int, path: str | None = None, operation: str | None = None) -> ZooKeeperError:
    """The error for `code`; an `UnknownError` for one that is not ZooKeeper's."""
    cls = BY_CODE.get(code)
    return UnknownError(path, operation, code) if cls is None else cls(path, operation)
