"""The settings of what clients may ask for: how fast they come in, what waits, what they watch.

Rules: they are part of `Config` (`settings.py`). Those whose names begin with `connection_` or
`request_` are Apache's, and so are their defaults; those of one connection's budget are ours.
"""

import re
from dataclasses import dataclass
from typing import Annotated, Final

from coterie.access_settings import AccessConfig
from coterie.kinds import COUNT, LIMIT_KIB, MS, POSITIVE, TRUE_FALSE, Kind, Setting, number

_NO_LIMIT: Final = 2**60


def _read_fraction(text: str) -> float:
    if not re.fullmatch(r"\+?[0-9]{0,9}\.?[0-9]{1,9}", text) or float(text) > 1:
        raise ValueError(text)
    return float(text)


_FRACTION: Final = Kind("a number from 0 to 1", _read_fraction)


@dataclass(frozen=True, slots=True, kw_only=True)
class OverloadConfig(AccessConfig):
    """What a server bears of its clients, of all together and of each."""

    throttle_tokens: Annotated[
        int,
        Setting(
            "connection_throttle_tokens",
            COUNT,
            "sessions that may be asked for at once, opened or taken up again, before clients are "
            "turned away until more tokens are there; 0: nobody is",
        ),
    ] = 0
    throttle_fill_ms: Annotated[
        int, Setting("connection_throttle_fill_time", MS, "time (ms) in which tokens come back")
    ] = 1
    throttle_fill_count: Annotated[
        int,
        Setting("connection_throttle_fill_count", POSITIVE, "how many come back in that time"),
    ] = 1
    throttle_freeze_ms: Annotated[
        int,
        Setting(
            "connection_throttle_freeze_time",
            number(-1, unit="ms"),
            "time (ms) after which it is judged anew how likely a client is turned away though "
            "there are tokens; -1: none is",
        ),
    ] = -1
    throttle_drop_increase: Annotated[
        float,
        Setting(
            "connection_throttle_drop_increase", _FRACTION, "how much more likely without a token"
        ),
    ] = 0.02
    throttle_drop_decrease: Annotated[
        float,
        Setting(
            "connection_throttle_drop_decrease",
            _FRACTION,
            "how much less likely when few tokens are out",
        ),
    ] = 0.002
    throttle_decrease_ratio: Annotated[
        float,
        Setting(
            "connection_throttle_decrease_ratio",
            _FRACTION,
            "which part of the tokens counts as few",
        ),
    ] = 0.0
    throttle_weighs: Annotated[
        bool,
        Setting(
            "connection_throttle_weight_enabled",
            TRUE_FALSE,
            "whether new sessions take more tokens than those that are taken up again; tokens and "
            "what comes back count in new sessions then",
        ),
    ] = False
    throttle_new_weight: Annotated[
        int,
        Setting(
            "connection_throttle_global_session_weight",
            POSITIVE,
            "the tokens of a new session, where they are weighed",
        ),
    ] = 3
    throttle_renewed_weight: Annotated[
        int,
        Setting(
            "connection_throttle_renew_session_weight",
            POSITIVE,
            "the tokens of one that is taken up again, where they are weighed",
        ),
    ] = 2
    requests_in_process_max: Annotated[
        int,
        Setting(
            "request_throttle_max_requests",
            COUNT,
            "as globalOutstandingLimit, of which the lower counts; 0: that alone",
        ),
    ] = 0
    own_outstanding_max: Annotated[
        int,
        Setting(
            "connectionOutstandingLimit",
            COUNT,
            "requests of one connection that may wait for the log before no more are read from "
            "it; 0: as many as of all together",
        ),
    ] = 500
    own_outstanding_bytes_max: Annotated[
        int,
        Setting(
            "connectionOutstandingLimitInKb",
            LIMIT_KIB,
            "the same by their size (KiB); 0: any size",
        ),
    ] = 16 * 2**20
    own_unread_bytes_max: Annotated[
        int,
        Setting(
            "connectionUnreadLimitInKb",
            LIMIT_KIB,
            "a connection that does not take events and answers is cut off when more than this "
            "waits for it (KiB); 0: never",
        ),
    ] = 16 * 2**20
    own_watches_max: Annotated[
        int,
        Setting(
            "connectionWatchLimit",
            COUNT,
            "watches that one connection may have of data, and as many of children; 0: no limit",
        ),
    ] = 1_000_000

    @property
    def own_outstanding_bound(self) -> int:
        """As `own_outstanding_max`, where no limit is a number, too."""
        return self.own_outstanding_max or _NO_LIMIT

    @property
    def own_outstanding_bytes_bound(self) -> int:
        """As `own_outstanding_bytes_max`, where no limit is a number, too."""
        return self.own_outstanding_bytes_max or _NO_LIMIT

    @property
    def own_unread_bytes_bound(self) -> int:
        """As `own_unread_bytes_max`, where no limit is a number, too."""
        return self.own_unread_bytes_max or _NO_LIMIT

    @property
    def own_watches_bound(self) -> int:
        """As `own_watches_max`, where no limit is a number, too."""
        return self.own_watches_max or _NO_LIMIT
