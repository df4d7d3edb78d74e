"""What mypyc has to be told of a class. To run, compiled or not, needs no package for that.

This module is not compiled: what is below the `else` would be unreachable there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mypy_extensions import mypyc_attr
else:

    def mypyc_attr(**_):
        """Leaves the class as it is."""
        return lambda cls: cls


__all__ = ["mypyc_attr"]
