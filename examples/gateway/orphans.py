"""A process that ends with the one that has started it, even if that is killed.

Linux tells a child when its parent is no more (PR_SET_PDEATHSIG). Elsewhere nothing happens here,
and who kills a parent looks after its children.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Callable
from typing import Any, Final

_SET_PARENT_DEATH_SIGNAL: Final = 1
# Loaded before anything forks: between fork and exec only what is at hand may be used.
_libc: Any = ctypes.CDLL(None) if sys.platform == "linux" else None


def dies_with_parent() -> Callable[[], None]:
    """What a child calls between fork and exec (`preexec_fn`).

    It holds for the thread that starts the child: start it from one that lives as long as the
    process does.
    """
    parent = os.getpid()

    def follow() -> None:
        if _libc is None:
            return
        _libc.prctl(_SET_PARENT_DEATH_SIGNAL, int(signal.SIGKILL), 0, 0, 0)
        if os.getppid() != parent:
            # It was gone before it could be followed.
            os._exit(1)

    return follow
