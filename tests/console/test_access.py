"""Who may come in over HTTP."""

from __future__ import annotations

import base64

import pytest
from starlette.datastructures import Headers

from coterie.console.access import Access, identity, is_loopback
from coterie.console.problems import Problem

_HERE = Access("127.0.0.1", read_only=False)


def _status(access: Access, method: str, **headers: str) -> int:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    try:
        access.check(method, Headers(named), changes=method == "RESET")
    except Problem as problem:
        return problem.status
    return 200


@pytest.mark.parametrize(
    "host", ["localhost", "localhost:8080", "127.0.0.1:8080", "[::1]:8080", "127.8.8.8", "::1"]
)
def test_this_machine_is_named(host: str) -> None:
    assert is_loopback(host)
    assert _status(_HERE, "GET", host=host) == 200


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example:80", "10.0.0.1", ""])
def test_a_name_that_somebody_points_here_opens_nothing(host: str) -> None:
    assert not is_loopback(host)
    assert _status(_HERE, "GET", host=host) == 421


_ELSEWHERE = Access("0.0.0.0", read_only=False, names=("zk1.example.org", "Console.example.org."))


@pytest.mark.parametrize(
    "host",
    [
        "10.0.0.1:8080",
        "[2001:db8::1]:8080",
        "localhost:9",
        "",
        "ZK1.example.org:8080",
        "zk1.example.org.",
        "console.example.org",
    ],
)
def test_elsewhere_addresses_and_known_names_are_asked_for(host: str) -> None:
    assert _status(_ELSEWHERE, "GET", host=host) == 200


@pytest.mark.parametrize(
    "host", ["evil.example", "zk1.example.org.evil.example", "10.0.0.1.evil.example:8080", "zk1"]
)
def test_elsewhere_too_a_name_that_somebody_points_here_opens_nothing(host: str) -> None:
    assert _status(_ELSEWHERE, "GET", host=host) == 421
    assert _status(_ELSEWHERE, "PUT", host=host, x_requested_by="me") == 421


def test_a_loopback_port_behind_a_proxy_has_the_name_that_was_given() -> None:
    behind = Access("127.0.0.1", read_only=False, names=("console.example.org",))
    assert _status(behind, "GET", host="console.example.org") == 200
    assert _status(behind, "GET", host="10.0.0.1") == 421


def test_an_address_that_listens_by_a_name_is_asked_for_by_it() -> None:
    assert (
        _status(Access("zk1.example.org", read_only=True), "GET", host="zk1.example.org:1") == 200
    )


@pytest.mark.parametrize("method", ["PUT", "POST", "DELETE"])
def test_a_change_needs_the_header_that_other_sites_cannot_send(method: str) -> None:
    assert _status(_HERE, method, host="localhost") == 403
    assert _status(_HERE, method, host="localhost", x_requested_by="me") == 200


@pytest.mark.parametrize("scheme", ["digest", "Digest"])
def test_who_asks_as_apaches_admin_commands_are_asked_is_no_page(scheme: str) -> None:
    host = "localhost:8080"
    apaches = f"{scheme} super:secret"
    assert _status(_HERE, "POST", host=host, authorization=apaches) == 200
    assert _status(_HERE, "POST", host=host, authorization=apaches, origin="http://a.b") == 403


@pytest.mark.parametrize(
    "sent_by_browsers", ["Basic c3U6c2VjcmV0", 'Digest username="su", realm="r"', ""]
)
def test_what_a_browser_sends_of_itself_proves_nothing(sent_by_browsers: str) -> None:
    named = {"authorization": sent_by_browsers}
    assert _status(_HERE, "POST", host="localhost:8080", **named) == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"sec_fetch_site": "cross-site"},
        {"sec_fetch_site": "same-site"},
        {"origin": "http://evil.example"},
        {"origin": "http://localhost:9"},
        {"origin": "null"},
    ],
)
def test_a_page_of_another_site_changes_nothing(headers: dict[str, str]) -> None:
    assert _status(_HERE, "PUT", host="localhost:8080", x_requested_by="me", **headers) == 403
    assert _status(_HERE, "RESET", host="localhost:8080", x_requested_by="me", **headers) == 403


def test_the_own_page_may() -> None:
    headers = {"sec_fetch_site": "same-origin", "origin": "http://localhost:8080"}
    assert _status(_HERE, "PUT", host="localhost:8080", x_requested_by="me", **headers) == 200


def test_a_port_that_is_read_only() -> None:
    with pytest.raises(Problem, match="read-only"):
        Access("127.0.0.1", read_only=True).check_write()
    _HERE.check_write()


def _identity(text: bytes, scheme: str = "Basic") -> object:
    given = f"{scheme} {base64.b64encode(text).decode()}"
    return identity(Headers({"authorization": given}))


def test_who_asks() -> None:
    assert identity(Headers({})) is None
    assert _identity(b"me:sec:ret") == ("me", "sec:ret")
    assert _identity("mé:".encode(), "bAsIc") == ("mé", "")


@pytest.mark.parametrize(
    ("text", "scheme"),
    [(b"me", "Basic"), (b":x", "Basic"), (b"\xff:x", "Basic"), (b"a", "Bearer")],
)
def test_credentials_that_are_none(text: bytes, scheme: str) -> None:
    with pytest.raises(Problem) as caught:
        _identity(text, scheme)
    assert caught.value.status == 401


def test_credentials_that_are_not_base64() -> None:
    with pytest.raises(Problem):
        identity(Headers({"authorization": "Basic ====x"}))


def test_credentials_that_are_no_ascii_are_the_askers_fault() -> None:
    with pytest.raises(Problem) as caught:
        identity(Headers({"authorization": "Basic \xe9"}))
    assert caught.value.status == 401
