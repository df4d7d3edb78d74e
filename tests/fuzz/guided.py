"""A coverage-guided fuzzer over the client protocol, which `make fuzz` runs.

    python -m tests.fuzz.guided -runs=100000 -seed=1

The arguments are libFuzzer's. A crash leaves the input in a file, to be added to
`test_regressions` in `tests/fuzz/test_frames.py`.
"""

from __future__ import annotations

import sys

import atheris

with atheris.instrument_imports(include=["coterie"]):
    from tests.fuzz.target import Target

_ROUNDS_MAX = 200
"""Inputs for one server, so that what one leaves behind meets the next, but not for ever."""


class _Fuzzer:
    def __init__(self) -> None:
        self.target = Target()
        self.rounds = 0

    def __call__(self, data: bytes) -> None:
        self.rounds += 1
        if self.rounds > _ROUNDS_MAX:
            self.target, self.rounds = Target(), 0
        self.target.attack(data)


def main() -> None:
    atheris.Setup(sys.argv, _Fuzzer())
    atheris.Fuzz()


if __name__ == "__main__":
    main()
