"""The API as one plain page, made from its OpenAPI description; it fetches nothing."""

from __future__ import annotations

from collections.abc import Mapping
from html import escape
from typing import Any, Final

_STYLE: Final = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 56rem; margin: 2rem auto; padding: 0 1rem;
  color: #1d2a33; background: #fbfcfd }
h2 { font-size: 1rem; margin: 2rem 0 .3rem } code, pre { font: 14px/1.5 ui-monospace, monospace }
.verb { display: inline-block; min-width: 4.5em; padding: 0 .5em; border-radius: 4px; color: #fff;
  background: #2b6cb0 } .POST { background: #2f855a }
pre { background: #eef2f5; padding: .7rem 1rem; overflow-x: auto; border-radius: 6px }
p { margin: .2rem 0 }
"""


def render(openapi: Mapping[str, Any], description_at: str) -> str:
    """HTML for people."""
    info = openapi["info"]
    parts = [
        "<!doctype html><html lang=en><meta charset=utf-8>",
        '<meta name=viewport content="width=device-width">',
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style>",
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>",
        *(_paragraph(text) for text in info.get("description", "").strip().split("\n\n")),
        f'<p><a href="{escape(description_at)}">OpenAPI description</a></p>',
    ]
    for path, verbs in openapi["paths"].items():
        for verb, operation in verbs.items():
            parts.append(_operation(path, verb.upper(), operation))
    return "\n".join(parts)


def _paragraph(text: str) -> str:
    """What is written as in our docstrings: sentences, and perhaps a list after them."""
    first, *items = text.split("\n- ")
    listed = "".join(f"<li>{escape(item)}</li>" for item in items)
    return f"<p>{escape(first)}</p>" + (f"<ul>{listed}</ul>" if listed else "")


def _operation(path: str, verb: str, operation: Mapping[str, Any]) -> str:
    parts = [
        f'<h2><span class="verb {verb}">{verb}</span> <code>{escape(path)}</code></h2>',
        f"<p>{escape(operation.get('description') or operation.get('summary', ''))}</p>",
    ]
    named = [
        f"<code>{escape(one['name'])}</code> ({escape(one['in'])})"
        for one in operation.get("parameters", ())
    ]
    if named:
        parts.append(f"<p>Takes {', '.join(named)}.</p>")
    example = operation.get("x-example")
    if example:
        parts.append(f"<pre>{escape(example)}</pre>")
    return "\n".join(parts)
