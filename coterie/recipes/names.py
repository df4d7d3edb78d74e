"""Names that people give, as names of znodes: any text, and the way back.

What a path cannot hold is percent-encoded, and nothing else, so that shells show names as given.
"""

from __future__ import annotations

import re
from urllib.parse import quote, unquote

from coterie.errors import BadArgumentsError

_UNFIT = re.compile("[%/\x00-\x1f\x7f-\x9f\ud800-\uf8ff\ufff0-\U0010ffff]")


def znode_name(text: str) -> str:
    """The name of the znode that stands for `text`.

    Raises `BadArgumentsError` for an empty one.
    """
    if not text:
        raise BadArgumentsError(repr(text), "use as a name")
    if text in (".", ".."):
        return text.replace(".", "%2E")
    return _UNFIT.sub(lambda found: quote(found[0], safe="", errors="surrogatepass"), text)


def text_of(name: str) -> str:
    """The text that a znode's name stands for."""
    return unquote(name, errors="surrogatepass")
