"""A coverage-guided fuzzer over the client protocol, which `make fuzz` runs.

    python -m tests.fuzz.guided -runs=100000 -seed=1

The arguments are libFuzzer's. It starts from well-formed requests and keeps what led it further
in build/fuzz. A crash leaves the input in a file, to be added to `test_regressions` in
`tests/fuzz/test_frames.py`.
"""

from __future__ import annotations

import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["coterie"]):
    from tests.fuzz.seeds import SEEDS
    from tests.fuzz.target import Target

_CORPUS = Path(__file__).parent.parent.parent / "build" / "fuzz"
_INPUT_BYTES_MAX = 2048

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
    _CORPUS.mkdir(parents=True, exist_ok=True)
    for number, seed in enumerate(SEEDS):
        (_CORPUS / f"seed-{number}").write_bytes(seed)
    limit = f"-max_len={_INPUT_BYTES_MAX}"
    atheris.Setup([sys.argv[0], limit, *sys.argv[1:], str(_CORPUS)], _Fuzzer())
    atheris.Fuzz()


if __name__ == "__main__":
    main()
