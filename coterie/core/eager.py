"""Writes that an ACL forbids, refused by the member that has the client before others see them.

It is Apache's `enableEagerACLCheck`. Rules:
- what is applied here decides, which may be less than the leader knows: an ACL that was just
  changed elsewhere may refuse what it allows now. What is let through the leader checks as ever;
- it is asked of create, delete, setData and setACL, and not of the parts of a multi;
- only what an ACL says counts: whatever else is wrong with a request is for the leader to say;
- a write behind another of the same connection is let through: that one may be what allows it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from coterie import paths
from coterie.errors import MarshallingError, NoAuthError
from coterie.values import Perms
from coterie.wire import requests
from coterie.wire.cursor import Reader
from coterie.wire.requests import Op

if TYPE_CHECKING:
    from coterie.core.acl import AccessControl
    from coterie.core.prepare import Write
    from coterie.core.tree import Tree

_PERMS: Final = {
    Op.CREATE: Perms.CREATE,
    Op.CREATE2: Perms.CREATE,
    Op.DELETE: Perms.DELETE,
    Op.SET_DATA: Perms.WRITE,
    Op.SET_ACL: Perms.ADMIN,
}

_PATHS: Final = (
    requests.CreateRequest,
    requests.DeleteRequest,
    requests.SetDataRequest,
    requests.SetACLRequest,
)


def early(
    tree: Tree, access: AccessControl, submit: Callable[[Write], None]
) -> Callable[[Write], None]:
    """A `submit` that refuses what the tree's ACLs forbid. Raises `ZooKeeperError`."""

    def checked(write: Write) -> None:
        connection = write.connection
        perms = _PERMS.get(write.op)
        if perms is not None and connection is not None and connection.fifo[0] is write:
            _check(tree, access, write, perms)
        submit(write)

    return checked


def _check(tree: Tree, access: AccessControl, write: Write, perms: int) -> None:
    """Raises `NoAuthError`, or `InvalidACLError` for one that is to be set."""
    try:
        request = requests.TABLE[write.op].request.read(Reader(write.payload))
    except MarshallingError:
        return
    assert isinstance(request, _PATHS)
    path = request.path
    if write.op in (Op.CREATE, Op.CREATE2, Op.DELETE):
        cut = path.rfind(b"/")
        if cut < 0 or 0 in path:
            return
        path = path[:cut] or paths.ROOT
    if isinstance(request, (requests.CreateRequest, requests.SetACLRequest)):
        access.fix(request.acl, write.ids)
    node = tree.nodes.get(path)
    if node is not None and not access.allows(node.acl, perms, write.ids):
        raise NoAuthError
