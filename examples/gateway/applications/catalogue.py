"""What comes along: the applications as they are registered, samples of their input, and results.

Nothing here imports the applications, or what they need: the servers read this at their start.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from examples.gateway.application import Application, Input, Output

_SAMPLES: Final = Path(__file__).with_name("samples")
_PROGRAMS: Final = __package__

ALIGN: Final = Application(
    name="align",
    version="1.0",
    flavor="local",
    description="Two protein sequences, aligned from end to end (Biopython)",
    command=(
        "python",
        "-m",
        f"{_PROGRAMS}.align",
        "{first}",
        "{second}",
        "--matrix={matrix}",
        "--open={open}",
        "--extend={extend}",
        "--result={result.json}",
        "--alignment={alignment.txt}",
    ),
    inputs=(
        Input("first", "file", description="a protein sequence, FASTA"),
        Input("second", "file", description="another one"),
        Input("matrix", "text", default="BLOSUM62", description="of the scores of substitutions"),
        Input("open", "number", default=10, description="what a gap costs"),
        Input("extend", "number", default=0.5, description="what each more residue of it costs"),
    ),
    outputs=(
        Output("result.json", "json", "score, identities, positives, gaps"),
        Output("alignment.txt", "text", "the alignment"),
    ),
)

OUTBREAK: Final = Application(
    name="outbreak",
    version="1.0",
    flavor="dask",
    description="An epidemic model, swept on a Dask cluster and fitted to daily counts (SciPy)",
    command=(
        "python",
        "-m",
        f"{_PROGRAMS}.outbreak",
        "{counts}",
        "--population={population}",
        "--side={side}",
        "--result={fit.json}",
        "--sweep={sweep.csv}",
    ),
    inputs=(
        Input("counts", "file", description="CSV with a column in_bed, a row for each day"),
        Input("population", "integer", description="how many there are in all"),
        Input("side", "integer", default=16, description="points on a side of the sweep's grid"),
    ),
    outputs=(
        Output("fit.json", "json", "the best beta, gamma and R0, and the curve"),
        Output("sweep.csv", "csv", "every point, with what it misses the counts by"),
    ),
)

APPLICATIONS: Final = (ALIGN, OUTBREAK)


def samples() -> list[dict[str, Any]]:
    """Small real inputs, as the API tells of them.

    Human haemoglobin, alpha and beta (UniProt P69905, P68871), and the boys in bed with influenza
    at a boarding school of 763 in January 1978 (BMJ 1978; 1: 587).
    """
    return [
        _sample(ALIGN, {}, {"first": "P69905.fasta", "second": "P68871.fasta"}),
        _sample(OUTBREAK, {"population": "763"}, {"counts": "boarding-school-1978.csv"}),
    ]


def sample_of(name: str) -> dict[str, Any]:
    """The sample of one application. Raises `LookupError`."""
    for sample in samples():
        if sample["application"] == name:
            return sample
    raise LookupError(f"no sample of {name} comes along")


def _sample(
    application: Application, fields: dict[str, str], files: Mapping[str, str]
) -> dict[str, Any]:
    return {
        "application": application.name,
        "fields": fields,
        "files": {
            name: {"name": file, "text": (_SAMPLES / file).read_text(encoding="utf-8")}
            for name, file in files.items()
        },
    }


def problem(name: str, outputs: Mapping[str, bytes]) -> str | None:
    """What is wrong with the results of an application's sample; None if they are right.

    What is right was found elsewhere: by the needle of EMBOSS, which shows this very pair in its
    manual; and for the outbreak in J. D. Murray's Mathematical Biology (R0 = 3.8, gamma = 0.44).
    """
    try:
        return _PROBLEMS[name](outputs)
    except (LookupError, ValueError, TypeError) as error:
        return f"{name}: {type(error).__name__}: {error}"


def _align_problem(outputs: Mapping[str, bytes]) -> str | None:
    told = json.loads(outputs["result.json"])
    found = {key: told[key] for key in _NEEDLE}
    if found != _NEEDLE:
        return f"align: {found}, and has to be {_NEEDLE}"
    lines = outputs["alignment.txt"].decode().splitlines()
    return None if len(lines) >= 3 else "align: the alignment is not there"


_NEEDLE: Final = {"score": 292.5, "columns": 149, "identities": 65, "positives": 90, "gaps": 9}


def _outbreak_problem(outputs: Mapping[str, bytes]) -> str | None:
    told = json.loads(outputs["fit.json"])
    for key, low, high in (("beta", 1.6, 1.75), ("gamma", 0.42, 0.46), ("R0", 3.6, 3.9)):
        if not low < told[key] < high:
            return f"outbreak: {key} is {told[key]}, and has to be between {low} and {high}"
    rows = outputs["sweep.csv"].decode().splitlines()
    if len(rows) != told["points"] + 1:
        return f"outbreak: the sweep has {len(rows) - 1} points, and has to have {told['points']}"
    return None


_PROBLEMS: Final = {"align": _align_problem, "outbreak": _outbreak_problem}
