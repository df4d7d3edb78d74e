"""An application: a command line with typed inputs and outputs, checked and filled in.

    align = of_json({"name": "align", ..., "command": ["python", "align.py", "{first}", ...]})
    inputs = align.check_inputs(texts={"gap": "-11"}, files={"first": "alpha.fasta", ...})
    align.command_line(inputs)         # ["python", "align.py", "inputs/first", ...]

A word of the command may name inputs and outputs in braces; `{{` is a brace. A file input becomes
its place in the job's folder, `inputs/NAME`; an output becomes its name, for it is written there;
any other input its text. Rules: no shell ever reads the line, so a value is one word, or a part
of one, whatever is in it. What was said by a user cannot begin a word with a dash, unless it is a
number: it would be taken for an option. A word that names an input which is not given is left out.

Nothing here touches a file, a clock or the network.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, Final, Literal

from packaging.version import InvalidVersion, Version

from coterie.recipes import typed_json

INPUTS: Final = "inputs"
"""The folder of the inputs, in that of a job."""
TEXT_CHARACTERS_MAX: Final = 10_000
COMMAND_WORDS_MAX: Final = 100
PUTS_MAX: Final = 50

_KIND_NAME: Final = re.compile(r"[a-z][a-z0-9_-]{0,39}")
_INPUT_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,39}")
_OUTPUT_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_INTEGER: Final = re.compile(r"[+-]?[0-9]{1,18}")
_NUMBER: Final = re.compile(
    r"[+-]?(?:[0-9]{1,40}(?:\.[0-9]{0,40})?|\.[0-9]{1,40})(?:[eE][+-]?[0-9]{1,3})?"
)
_PART: Final = re.compile(r"\{\{|\}\}|\{([^{}]*)\}|[{}]")
_CONTROL: Final = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")

InputType = Literal["file", "text", "integer", "number"]
OutputType = Literal["file", "text", "json", "csv"]
InputValue = str | dict[str, str]
"""What one input of a job is: a text, or `{"file": NAME}` with the name that its user gave it."""


class InvalidInputError(ValueError):
    """What was given for an application's inputs will not do: all that is wrong with it."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


@dataclass(frozen=True)
class Input:
    """What an application takes."""

    name: str
    type: InputType = "text"
    required: bool = True
    default: str | int | float | None = None
    description: str = ""

    def __post_init__(self) -> None:
        _check_name(_INPUT_NAME, "an input", self.name)
        if self.default is not None:
            if self.type == "file":
                raise ValueError(f"{self.name} is a file, which has no default")
            self.check(str(self.default))

    def check(self, text: str) -> str:
        """The text as it is put into a command. Raises `ValueError`."""
        if self.type == "file":
            raise ValueError(f"{self.name} has to be a file")
        if self.type == "text":
            if len(text) > TEXT_CHARACTERS_MAX:
                raise ValueError(f"{self.name} is longer than {TEXT_CHARACTERS_MAX} characters")
            if _CONTROL.search(text):
                raise ValueError(f"{self.name} has control characters in it")
            return text
        text = text.strip()
        if self.type == "integer":
            if not _INTEGER.fullmatch(text):
                raise ValueError(f"{self.name} has to be a whole number, and is {text[:40]!r}")
            return str(int(text))
        if not _NUMBER.fullmatch(text) or not math.isfinite(float(text)):
            raise ValueError(f"{self.name} has to be a number, and is {text[:40]!r}")
        return text


@dataclass(frozen=True)
class Output:
    """What an application makes: a file of this name in its folder."""

    name: str
    type: OutputType = "file"
    description: str = ""

    def __post_init__(self) -> None:
        _check_name(_OUTPUT_NAME, "an output", self.name)
        if self.name == INPUTS:
            raise ValueError(f"no output can be called {INPUTS}: the inputs are there")

    def problem(self, data: bytes) -> str | None:
        """What keeps these bytes from being of its type."""
        if self.type == "file":
            return None
        try:
            text = data.decode()
        except UnicodeDecodeError as error:
            return f"{self.name} is no text: {error}"
        if self.type == "json":
            try:
                json.loads(text)
            except (ValueError, RecursionError) as error:
                return f"{self.name} is no JSON: {error}"
        return None


@dataclass(frozen=True)
class Application:
    """A command line, what it takes and what it makes."""

    name: str
    version: str
    command: tuple[str, ...]
    flavor: str = "local"
    """Of the managers that can run it."""
    description: str = ""
    inputs: tuple[Input, ...] = ()
    outputs: tuple[Output, ...] = ()

    def __post_init__(self) -> None:
        _check_name(_KIND_NAME, "an application", self.name)
        _check_name(_KIND_NAME, "a flavor", self.flavor)
        try:
            Version(self.version)
        except InvalidVersion:
            raise ValueError(f"{self.version!r} is no version as PEP 440 has them") from None
        if len(self.inputs) > PUTS_MAX or len(self.outputs) > PUTS_MAX:
            raise ValueError(f"more than {PUTS_MAX} inputs or outputs")
        names = [each.name for each in self.inputs] + [each.name for each in self.outputs]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise ValueError(f"named twice: {', '.join(twice)}")
        self._check_command(names)

    def _check_command(self, names: Sequence[str]) -> None:
        if not 0 < len(self.command) <= COMMAND_WORDS_MAX:
            raise ValueError(f"a command has 1 to {COMMAND_WORDS_MAX} words")
        for word in self.command:
            if "\0" in word or len(word) > TEXT_CHARACTERS_MAX:
                raise ValueError(f"{word[:40]!r} is no word for a command")
            for found in _PART.finditer(word):
                if found[0] in ("{", "}"):
                    raise ValueError(f"{word!r} has a brace alone: a brace itself is {{{{ or }}}}")
                if found[1] is not None and found[1] not in names:
                    raise ValueError(f"{word!r} names {found[1]!r}, which is no input or output")
        if _PART.search(self.command[0]):
            raise ValueError("the first word is the program, and no input can say which")

    @cached_property
    def _by_name(self) -> dict[str, Input]:
        return {each.name: each for each in self.inputs}

    def check_inputs(
        self, texts: Mapping[str, str], files: Mapping[str, str]
    ) -> dict[str, InputValue]:
        """The inputs of a job, with the defaults filled in.

        `files` has the name that the user gave each file. An empty text is as good as none. Raises
        `InvalidInputError`, with all that is wrong.
        """
        problems = [
            f"{self.name} has no input {name}"
            for name in sorted({*texts, *files})
            if name not in self._by_name
        ]
        problems += [f"{name} is given twice" for name in sorted({*texts} & {*files})]
        given: dict[str, InputValue] = {}
        for each in self.inputs:
            try:
                value = self._value_of(each, texts.get(each.name), files.get(each.name))
            except ValueError as error:
                problems.append(str(error))
                continue
            if value is not None:
                given[each.name] = value
        if problems:
            raise InvalidInputError(problems)
        return given

    def _value_of(self, each: Input, text: str | None, file: str | None) -> InputValue | None:
        """What one input is, None if it is not there and need not be. Raises `ValueError`."""
        if each.type == "file":
            if file is None and text:
                raise ValueError(f"{each.name} has to be a file")
            if file is None and each.required:
                raise ValueError(f"{each.name} is missing: a file")
            return None if file is None else {"file": file}
        if file is not None:
            raise ValueError(f"{each.name} is a file, and has to be {each.type}")
        if text:
            value = each.check(text)
            if each.type == "text" and value.startswith("-") and self._begins_a_word(each.name):
                raise ValueError(
                    f"{each.name} begins with a dash: it would be taken for an option"
                )
            return value
        if each.default is not None:
            return each.check(str(each.default))
        if each.required:
            raise ValueError(f"{each.name} is missing: {each.type}")
        return None

    def _begins_a_word(self, name: str) -> bool:
        return any(word.startswith(f"{{{name}}}") for word in self.command)

    def command_line(self, inputs: Mapping[str, InputValue]) -> list[str]:
        """The words of the command for these inputs, which `check_inputs` has let through."""
        values = {output.name: output.name for output in self.outputs}
        for each in self.inputs:
            value = inputs.get(each.name)
            if isinstance(value, str):
                values[each.name] = value
            elif value is not None:
                values[each.name] = f"{INPUTS}/{each.name}"
        return [
            _filled(word, values)
            for word in self.command
            if all(found[1] is None or found[1] in values for found in _PART.finditer(word))
        ]

    def file_inputs(self, inputs: Mapping[str, InputValue]) -> list[str]:
        """The names of the inputs that are files."""
        return [name for name, value in inputs.items() if not isinstance(value, str)]

    def as_json(self) -> dict[str, Any]:
        """What JSON says of it."""
        told = asdict(self)
        for plural in ("command", "inputs", "outputs"):
            told[plural] = list(told[plural])
        return told


def of_json(told: object) -> Application:
    """An application as JSON says it. Raises `ValueError` that says what will not do."""
    try:
        # What cannot be told again would keep all the others from being told, too.
        json.dumps(told, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise ValueError(f"application: {error}") from None
    made: Application = typed_json.build(Application, told, "application")
    return made


def inputs_of_json(told: object) -> dict[str, InputValue]:
    """The inputs of a job as JSON says them. Raises `ValueError`."""
    made: dict[str, InputValue] = typed_json.build(dict[str, str | dict[str, str]], told, "inputs")
    return made


def _filled(word: str, values: Mapping[str, str]) -> str:
    def fill(found: re.Match[str]) -> str:
        return found[0][0] if found[1] is None else values[found[1]]

    return _PART.sub(fill, word)


def _check_name(rule: re.Pattern[str], what: str, name: str) -> None:
    if not rule.fullmatch(name):
        raise ValueError(f"{name!r} cannot be the name of {what}")
