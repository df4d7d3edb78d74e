"""The metadata servers without any server: the store itself."""

from __future__ import annotations

from typing import Any

from coterie.gateway.fencing import StaleTokenError
from examples.gateway.metadata_client import Metadata, RefusedError, UnavailableError
from examples.gateway.store import RefusalError, StaleClaimError, Store


class Direct(Metadata):
    """What a component asks, answered by a store; by nobody while it is `away`."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self.away = False

    async def _ask(self, operation: str, arguments: dict[str, Any], *, writes: bool) -> Any:
        if self.away:
            raise UnavailableError("nobody leads")
        try:
            if writes:
                return self.store.write(1, operation, arguments)
            return self.store.read(operation, arguments)
        except StaleClaimError as stale:
            raise StaleTokenError(str(stale), stale.token, stale.newest) from None
        except RefusalError as refusal:
            raise RefusedError(refusal.status, refusal.code, str(refusal)) from None
