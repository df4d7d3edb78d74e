"""How an outbreak spread: a model of susceptible, infected and recovered, fitted to daily counts.

beta (how often one infects another, a day) and gamma (one by the days that one is ill) are swept
over a grid, and the best point of the grid is refined. The points of the sweep are computed by
the Dask cluster at DASK_SCHEDULER_ADDRESS, in pieces; without one, here. The fit is that of least
squares. One of the population is infected on the day before the first count.
"""

# mypy: disable-error-code="import-not-found, import-untyped, no-untyped-call"
from __future__ import annotations

import argparse
import csv
import json
import os
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import product
from pathlib import Path
from typing import Any, Final

Point = tuple[float, float]
Scored = tuple[float, float, float]
"""beta, gamma, and the sum of the squares of what the model misses by."""

_BETAS: Final = (0.8, 3.2)
_GAMMAS: Final = (0.15, 1.0)
_PIECES: Final = 8


def curve(beta: float, gamma: float, population: int, days: int) -> list[float]:
    """The infected at the end of each day."""
    from scipy.integrate import odeint

    def change(state: Sequence[float], _day: float) -> tuple[float, float]:
        susceptible, infected = state
        new = beta * susceptible * infected / population
        return -new, new - gamma * infected

    states = odeint(change, (population - 1.0, 1.0), range(days + 1))
    return [float(infected) for infected in states[1:, 1]]


def missed_by(beta: float, gamma: float, counts: Sequence[float], population: int) -> float:
    """The sum of the squares of what the model misses the counts by."""
    told = curve(beta, gamma, population, len(counts))
    return sum((a - b) ** 2 for a, b in zip(told, counts, strict=True))


def score(points: Iterable[Point], counts: Sequence[float], population: int) -> list[Scored]:
    """One piece of the sweep."""
    return [(b, g, missed_by(b, g, counts, population)) for b, g in points]


def grid(side: int) -> list[Point]:
    """The points of the sweep."""

    def steps(low: float, high: float) -> list[float]:
        return [low + (high - low) * n / (side - 1) for n in range(side)]

    return list(product(steps(*_BETAS), steps(*_GAMMAS)))


def sweep(
    points: Sequence[Point],
    counts: Sequence[float],
    population: int,
    told: Callable[[str], None] = print,
) -> list[Scored]:
    """All points with their scores: by the cluster if there is one."""
    pieces = [points[n::_PIECES] for n in range(_PIECES)]
    address = os.environ.get("DASK_SCHEDULER_ADDRESS")
    if address is None:
        return [one for piece in pieces for one in score(piece, counts, population)]
    from distributed import Client, as_completed

    found: list[Scored] = []
    with Client(address) as client:
        told(f"the sweep is computed at {address}")
        futures = [client.submit(score, piece, counts, population) for piece in pieces]
        for done, future in enumerate(as_completed(futures), 1):
            found += future.result()
            told(f"{done} of {len(pieces)} pieces are done")
    return found


def refine(start: Point, counts: Sequence[float], population: int) -> Scored:
    """The best point near the best one of a grid."""
    from scipy.optimize import minimize

    found = minimize(
        lambda point: missed_by(point[0], point[1], counts, population),
        start,
        method="Nelder-Mead",
        options={"xatol": 1e-5, "fatol": 1e-3},
    )
    beta, gamma = map(float, found.x)
    return beta, gamma, float(found.fun)


def read_counts(path: Path) -> list[float]:
    """The column `in_bed`, a row for each day. Raises `ValueError`."""
    with path.open(newline="", encoding="utf-8") as file:
        try:
            counts = [float(row["in_bed"]) for row in csv.DictReader(file)]
        except (KeyError, TypeError, ValueError):
            raise ValueError("the file has no column in_bed with a number in each row") from None
    if len(counts) < 5:
        raise ValueError(f"{len(counts)} days are too few to fit a model to")
    return counts


def fit(counts: Sequence[float], population: int, scored: Sequence[Scored]) -> dict[str, Any]:
    """What is known after the sweep."""
    best = min(scored, key=lambda one: one[2])
    beta, gamma, squares = refine(best[:2], counts, population)
    return {
        "beta": round(beta, 4),
        "gamma": round(gamma, 4),
        "R0": round(beta / gamma, 3),
        "days_ill": round(1 / gamma, 2),
        "missed_by": round((squares / len(counts)) ** 0.5, 2),
        "population": population,
        "points": len(scored),
        "curve": [round(each, 1) for each in curve(beta, gamma, population, len(counts))],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("counts", type=Path)
    parser.add_argument("--population", type=int, required=True)
    parser.add_argument("--side", type=int, default=16, help="points on a side of the grid")
    parser.add_argument("--result", type=Path, default=Path("fit.json"))
    parser.add_argument("--sweep", type=Path, default=Path("sweep.csv"))
    given = parser.parse_args()
    try:
        counts = read_counts(given.counts)
        if not max(counts) < given.population or not 2 <= given.side <= 100:
            raise ValueError(
                "the population is to be larger than the counts, and 2 <= side <= 100"
            )
    except ValueError as error:
        sys.exit(f"outbreak: {error}")
    scored = sorted(sweep(grid(given.side), counts, given.population))
    with given.sweep.open("w", newline="", encoding="utf-8") as file:
        rows = csv.writer(file)
        rows.writerow(("beta", "gamma", "sum_of_squares"))
        rows.writerows((round(b, 4), round(g, 4), round(s, 1)) for b, g, s in scored)
    told = fit(counts, given.population, scored)
    given.result.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    print(f"beta {told['beta']}, gamma {told['gamma']}, R0 {told['R0']}")


if __name__ == "__main__":
    main()
