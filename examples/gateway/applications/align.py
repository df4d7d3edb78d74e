"""Two protein sequences, aligned from end to end: score, identity, and the alignment itself.

The needle of EMBOSS does the same, with the same matrix and penalties when nothing else is said;
Biopython's PairwiseAligner does the work. A gap of n residues costs `--open` and n - 1 times
`--extend`.
"""

# mypy: disable-error-code="import-not-found, no-untyped-call"
from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from Bio import SeqIO
from Bio.Align import PairwiseAligner, substitution_matrices


def align(first: Path, second: Path, matrix: str, open_cost: float, extend_cost: float) -> Any:
    """The best alignment of the first sequences of two FASTA files. Raises `ValueError`."""
    sequences = [_first_sequence(path) for path in (first, second)]
    if matrix not in substitution_matrices.load():
        raise ValueError(
            f"there is no matrix {matrix!r}: {' '.join(substitution_matrices.load())}"
        )
    aligner = PairwiseAligner(
        mode="global",
        substitution_matrix=substitution_matrices.load(matrix),
        open_gap_score=-open_cost,
        extend_gap_score=-extend_cost,
    )
    return aligner.align(*sequences)[0]


def _first_sequence(path: Path) -> Any:
    with path.open(encoding="utf-8") as file:
        found = next(SeqIO.parse(file, "fasta"), None)
    if found is None or not len(found.seq):
        raise ValueError(f"{path.name} is no FASTA file with a sequence in it")
    return found.upper()


def report(alignment: Any, matrix: str) -> dict[str, Any]:
    """The numbers that one wants to know."""
    counts = alignment.counts(substitution_matrices.load(matrix))
    first, second = alignment.sequences
    return {
        "first": first.id,
        "second": second.id,
        "score": round(float(alignment.score), 3),
        "columns": int(alignment.length),
        "identities": int(counts.identities),
        "positives": int(counts.positives),
        "gaps": int(counts.gaps),
        "identity": round(100 * counts.identities / alignment.length, 1),
        "matrix": matrix,
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("first", type=Path)
    parser.add_argument("second", type=Path)
    parser.add_argument("--matrix", default="BLOSUM62")
    parser.add_argument("--open", type=float, default=10.0)
    parser.add_argument("--extend", type=float, default=0.5)
    parser.add_argument("--result", type=Path, default=Path("result.json"))
    parser.add_argument("--alignment", type=Path, default=Path("alignment.txt"))
    given = parser.parse_args()
    try:
        found = align(given.first, given.second, given.matrix, given.open, given.extend)
        told = report(found, given.matrix)
    except ValueError as error:
        sys.exit(f"align: {error}")
    given.result.write_text(json.dumps(told, indent=2) + "\n", encoding="utf-8")
    given.alignment.write_text(str(found), encoding="utf-8")
    print(f"{told['first']} and {told['second']}: score {told['score']}, ", end="")
    print(f"identity {told['identities']}/{told['columns']} ({told['identity']} %)")


if __name__ == "__main__":
    main()
