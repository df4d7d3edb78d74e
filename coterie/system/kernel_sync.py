"""fdatasync that the kernel does by itself, on Linux: no thread of this process waits for it.

A thread that waits has to take the interpreter's lock again after each call, against a loop that
is busy: with 48 clients that write, a server alone made up to a fifth more writes without one. It
is the asynchronous I/O of io_submit(2), of which since Linux 4.18 fdatasync is a part for all file
systems; the end of it is an event on a descriptor of the loop. (io_uring would do it as well, but
the usual rules for containers forbid it.) The C library has no functions for these calls, only
`syscall`.

The structures are those of <linux/aio_abi.h>, as little-endian machines have them.
"""

from __future__ import annotations

import asyncio
import ctypes
import os
import platform
import struct
import sys
from collections.abc import Callable
from typing import Final, NamedTuple, Self

Done = Callable[[OSError | None], None]


class _Calls(NamedTuple):
    """The numbers of the system calls."""

    setup: int
    destroy: int
    submit: int
    getevents: int


_GENERIC: Final = _Calls(setup=0, destroy=1, submit=2, getevents=4)
_CALLS: Final = {
    "x86_64": _Calls(setup=206, destroy=207, submit=209, getevents=208),
    "aarch64": _GENERIC,
    "riscv64": _GENERIC,
}
_REQUEST: Final = struct.Struct("=QIIHhIQQqQII")
"""struct iocb: data, key, flags of the operation, operation, priority, descriptor, buffer, count,
offset, reserved, flags, event descriptor."""
_EVENT: Final = struct.Struct("=QQqq")
"""struct io_event: data, request, result, second result."""
_FDATASYNC: Final = 3
_TELL_EVENT: Final = 1
_EVENTS_MAX: Final = 1


class KernelSync:
    """Syncs one file at a time. Made, used and closed in the loop's thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, calls: _Calls) -> None:
        """Raises `OSError` where the kernel does not allow it."""
        self._loop = loop
        self._calls = calls
        self._syscall = ctypes.CDLL(None, use_errno=True).syscall
        self._syscall.restype = ctypes.c_long
        self._context = ctypes.c_ulong(0)
        self._call(calls.setup, ctypes.c_long(_EVENTS_MAX), ctypes.byref(self._context))
        self._told = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)
        self._request = ctypes.create_string_buffer(_REQUEST.size)
        self._requests = ctypes.pointer(ctypes.c_void_p(ctypes.addressof(self._request)))
        self._event = ctypes.create_string_buffer(_EVENT.size)
        self._at_once = ctypes.create_string_buffer(struct.calcsize("@ll"))
        self._done: Done | None = None
        loop.add_reader(self._told, self._deliver)

    @classmethod
    def open(cls, loop: asyncio.AbstractEventLoop) -> Self | None:
        """One for this loop, or None where the system has none or does not allow it."""
        calls = _CALLS.get(platform.machine())
        if sys.platform != "linux" or sys.maxsize < 2**32 or calls is None:
            return None
        try:
            return cls(loop, calls)
        except (OSError, AttributeError):
            return None

    def submit(self, descriptor: int, done: Done) -> None:
        """Begin to make durable what was written to a file; `done(error)` in the loop ends it.

        Raises `OSError` where it was not begun.
        """
        assert self._done is None, "one at a time"
        _REQUEST.pack_into(
            self._request,
            0,
            0,
            0,
            0,
            _FDATASYNC,
            0,
            descriptor,
            0,
            0,
            0,
            0,
            _TELL_EVENT,
            self._told,
        )
        self._call(self._calls.submit, self._context, ctypes.c_long(1), self._requests)
        self._done = done

    def _call(self, number: int, *arguments: object) -> int:
        result: int = self._syscall(ctypes.c_long(number), *arguments)
        if result < 0:
            code = ctypes.get_errno()
            raise OSError(code, os.strerror(code))
        return result

    def _deliver(self) -> None:
        try:
            os.read(self._told, 8)
        except BlockingIOError:
            return
        self._take(self._at_once)

    def _take(self, patience: ctypes.Array[ctypes.c_char] | None) -> None:
        one = ctypes.c_long(_EVENTS_MAX)
        if self._call(self._calls.getevents, self._context, one, one, self._event, patience):
            done, self._done = self._done, None
            assert done is not None
            result = _EVENT.unpack(self._event.raw)[2]
            done(None if result >= 0 else OSError(-result, os.strerror(-result)))

    def close(self) -> None:
        """Wait for the sync that is under way, if there is one, and let everything go."""
        if self._done is not None:
            self._take(None)
        self._loop.remove_reader(self._told)
        self._call(self._calls.destroy, self._context)
        os.close(self._told)
