"""Errors as problem documents."""

from __future__ import annotations

import json

import pytest

from coterie import errors
from coterie.console.problems import Problem, answer, status_of
from coterie.errors import OutcomeUnknown, UnknownError


def test_an_error_of_zookeepers() -> None:
    response = answer(errors.BadVersionError("/a", "set"))
    assert response.status_code == 412
    assert response.headers["content-type"] == "application/problem+json"
    told = json.loads(bytes(response.body))
    assert (told["code"], told["title"], told["path"]) == (-103, "BadVersion", "/a")
    assert told["status"] == 412


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (errors.NoNodeError(), 404),
        (errors.NodeExistsError(), 409),
        (errors.NotEmptyError(), 409),
        (errors.NoAuthError(), 403),
        (errors.BadArgumentsError(), 400),
        (errors.NotConnectedError(), 503),
        (errors.OperationTimeoutError(), 504),
        (UnknownError(code=-77), 500),
    ],
)
def test_what_means_the_same_to_http(error: errors.ZooKeeperError, status: int) -> None:
    assert status_of(error) == status


def test_a_write_whose_outcome_is_unknown_says_so() -> None:
    response = answer(OutcomeUnknown("/a", "set"))
    assert response.status_code == 503
    assert json.loads(bytes(response.body))["outcome"] == "unknown"


def test_a_problem_of_http() -> None:
    response = answer(Problem(413, "too much", {"Connection": "close"}), {"more": 1})
    told = json.loads(bytes(response.body))
    assert (
        told
        == {
            "title": "Request Entity Too Large",
            "detail": "too much",
            "status": 413,
            "more": 1,
        }
        or told["title"] == "Content Too Large"
    )
    assert response.headers["connection"] == "close"
