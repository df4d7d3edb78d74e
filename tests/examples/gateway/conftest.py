"""Without what the gateway needs (requirements/gateway.txt) only its pure parts are tested."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Final

_NEEDED: Final = ("Bio", "distributed", "fastapi", "httpx", "jwt", "multipart", "scipy")
_HERE: Final = Path(__file__).parent

# A test that is left out by its mark would be imported all the same.
collect_ignore = [
    str(path.relative_to(_HERE))
    for path in sorted(_HERE.rglob("test_*.py"))
    if not all(map(find_spec, _NEEDED)) and "mark.gateway" in path.read_text(encoding="utf-8")
]
