"""The page of the API: everything that is described is there, and nothing that is said runs."""

from __future__ import annotations

from examples.gateway.api_page import render

OPENAPI = {
    "info": {"title": "A <b>", "version": "1", "description": "Rules:\n- one;\n- two.\n\nMore."},
    "paths": {
        "/things/{id}": {
            "get": {
                "description": "One & all",
                "parameters": [{"name": "id", "in": "path"}],
                "x-example": "curl '<script>'",
            },
            "post": {"summary": "Make"},
        }
    },
}


def test_all_that_is_described_is_on_the_page_and_nothing_of_it_is_markup() -> None:
    page = render(OPENAPI, "/openapi.json")
    assert page.count("/things/{id}") == 2
    assert "<li>one;</li><li>two.</li>" in page
    assert "<p>More.</p>" in page
    assert "One &amp; all" in page
    assert "Takes <code>id</code> (path)." in page
    assert "<script" not in page
    assert "A &lt;b&gt; 1" in page
    assert 'href="/openapi.json"' in page
