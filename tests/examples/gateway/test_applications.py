"""The applications that come along: their samples come to what others have found."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from pathlib import Path

import pytest

from examples.gateway.applications import catalogue

_TOP = Path(__file__).parents[3]


def _run(name: str, folder: Path, **fields: str) -> dict[str, bytes]:
    """Run an application on its sample as a manager does, without one."""
    (application,) = (each for each in catalogue.APPLICATIONS if each.name == name)
    sample = catalogue.sample_of(name)
    (folder / "inputs").mkdir()
    for put, file in sample["files"].items():
        (folder / "inputs" / put).write_text(file["text"])
    inputs = application.check_inputs(
        sample["fields"] | fields, {put: file["name"] for put, file in sample["files"].items()}
    )
    program, *words = application.command_line(inputs)
    assert program == "python"
    environment = {"PYTHONPATH": str(_TOP), "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, *words], cwd=folder, env=environment, check=True, timeout=60)
    return {each.name: (folder / each.name).read_bytes() for each in application.outputs}


@pytest.mark.gateway
def test_haemoglobin_is_aligned_as_needle_does_it(tmp_path: Path) -> None:
    outputs = _run("align", tmp_path)
    assert catalogue.problem("align", outputs) is None
    assert json.loads(outputs["result.json"])["identity"] == 43.6


@pytest.mark.gateway
def test_the_boarding_school_has_the_r0_of_the_books(tmp_path: Path) -> None:
    outputs = _run("outbreak", tmp_path, side="8")
    assert catalogue.problem("outbreak", outputs) is None
    rows = list(csv.DictReader(outputs["sweep.csv"].decode().splitlines()))
    assert len({(row["beta"], row["gamma"]) for row in rows}) == 64


def test_a_wrong_result_is_seen() -> None:
    result = {"score": 292.5, "columns": 149, "identities": 64, "positives": 90, "gaps": 9}
    told = catalogue.problem("align", {"result.json": json.dumps(result).encode()})
    assert told is not None
    assert "64" in told
    assert catalogue.problem("outbreak", {"fit.json": b"{}"}) is not None


def test_samples_suit_their_applications() -> None:
    for application in catalogue.APPLICATIONS:
        sample = catalogue.sample_of(application.name)
        files = {put: file["name"] for put, file in sample["files"].items()}
        assert application.check_inputs(sample["fields"], files)
