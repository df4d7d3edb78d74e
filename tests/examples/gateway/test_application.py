"""Applications: what is refused when they are registered and when a job is submitted."""

from __future__ import annotations

import json
from typing import Any

import pytest

from examples.gateway.application import Application, InvalidInputError, of_json

_TOLD: dict[str, Any] = {
    "name": "align",
    "version": "1.0",
    "command": [
        "python",
        "-m",
        "align",
        "{first}",
        "--gap={gap}",
        "--title={title}",
        "{score.json}",
    ],
    "inputs": [
        {"name": "first", "type": "file"},
        {"name": "gap", "type": "integer", "default": -11},
        {"name": "title", "required": False},
    ],
    "outputs": [{"name": "score.json", "type": "json"}],
}


def _made(**changes: Any) -> Application:
    return of_json(_TOLD | changes)


def test_a_command_is_filled_in_word_for_word() -> None:
    application = _made()
    inputs = application.check_inputs({"title": "a b; rm -rf $HOME {gap}"}, {"first": "a.fasta"})
    assert inputs["first"] == {"file": "a.fasta"}
    assert application.command_line(inputs) == [
        "python",
        "-m",
        "align",
        "inputs/first",
        "--gap=-11",
        "--title=a b; rm -rf $HOME {gap}",
        "score.json",
    ]


def test_a_word_for_what_is_not_given_is_left_out() -> None:
    application = _made()
    line = application.command_line(application.check_inputs({}, {"first": "a"}))
    assert not [word for word in line if word.startswith("--title")]


def test_braces_themselves_are_doubled() -> None:
    application = _made(command=["awk", "{{print $1}}", "{first}"])
    assert application.command_line({"first": {"file": "x"}}) == [
        "awk",
        "{print $1}",
        "inputs/first",
    ]


def test_all_that_is_wrong_is_said_at_once() -> None:
    with pytest.raises(InvalidInputError) as raised:
        _made().check_inputs({"gap": "many", "more": "1"}, {})
    assert raised.value.problems == (
        "align has no input more",
        "first is missing: a file",
        "gap has to be a whole number, and is 'many'",
    )


@pytest.mark.parametrize("text", ["nan", "inf", "1_000", "1e999", "0x10", "1,5", "--", "٣"])
def test_what_is_no_number_is_refused(text: str) -> None:
    application = _made(command=["x", "{n}"], inputs=[{"name": "n", "type": "number"}], outputs=[])
    with pytest.raises(InvalidInputError):
        application.check_inputs({"n": text}, {})


@pytest.mark.parametrize("text", ["-1", "+0.5", ".5", "5.", "1e-9", " 42 "])
def test_numbers_are_let_through(text: str) -> None:
    application = _made(command=["x", "{n}"], inputs=[{"name": "n", "type": "number"}], outputs=[])
    assert float(application.command_line(application.check_inputs({"n": text}, {}))[1]) == float(
        text
    )


def test_a_text_cannot_become_an_option() -> None:
    puts = {"inputs": [{"name": "what", "type": "text"}], "outputs": []}
    with pytest.raises(InvalidInputError, match="dash"):
        _made(command=["cat", "{what}"], **puts).check_inputs({"what": "--output=/etc"}, {})
    after = _made(command=["cat", "--what={what}"], **puts)
    assert after.command_line(after.check_inputs({"what": "-x"}, {}))[1] == "--what=-x"


def test_a_file_is_no_text_and_a_text_no_file() -> None:
    with pytest.raises(InvalidInputError, match="first has to be a file"):
        _made().check_inputs({"first": "/etc/passwd"}, {})
    with pytest.raises(InvalidInputError, match="gap is a file"):
        _made().check_inputs({}, {"first": "a", "gap": "b"})


def test_control_characters_do_not_get_into_a_command() -> None:
    with pytest.raises(InvalidInputError, match="control"):
        _made().check_inputs({"title": "a\0b"}, {"first": "a"})


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"name": "../x"}, "cannot be the name"),
        ({"version": "new"}, "no version"),
        ({"description": "\ud800"}, "surrogates"),
        ({"inputs": [{"name": "first", "default": float("nan")}]}, "not JSON compliant"),
        ({"command": []}, "1 to"),
        ({"command": ["{first}"]}, "first word"),
        ({"command": ["x", "{second}"]}, "no input or output"),
        ({"command": ["x", "{first"]}, "brace alone"),
        ({"command": "rm -rf"}, "has to be a list"),
        ({"outputs": [{"name": "../../etc/cron"}]}, "cannot be the name of an output"),
        ({"outputs": [{"name": "inputs"}]}, "no output can be called"),
        ({"outputs": [{"name": "first"}]}, "named twice"),
        ({"inputs": [{"name": "first", "type": "float"}]}, "'float'"),
        ({"inputs": [{"name": "first", "type": "integer", "default": "x"}]}, "whole number"),
        ({"inputs": [{"name": "first", "type": "file", "default": "x"}]}, "no default"),
    ],
)
def test_what_cannot_be_registered(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        _made(**changes)


def test_json_there_and_back() -> None:
    application = _made()
    assert of_json(json.loads(json.dumps(application.as_json()))) == application


def test_an_output_has_to_be_what_it_is_said_to_be() -> None:
    (output,) = _made().outputs
    assert output.problem(b'{"score": 3}') is None
    assert "no JSON" in (output.problem(b"{") or "")
    assert "no text" in (output.problem(b"\xff") or "")
