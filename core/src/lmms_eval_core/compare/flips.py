"""Finds the documents that changed between two runs, and those that both have wrong. Pure.

Everything raises DamagedIndex where the bytes are no index.
"""

from array import array
from enum import StrEnum
from typing import NamedTuple

from lmms_eval_core.compare.columns import DocumentColumns, ValueColumns, is_number, pair_documents, pick_values
from lmms_eval_core.sample_index.reader import read_flag
from lmms_eval_core.sample_scoring import SampleFlag


class FlipKind(StrEnum):
    """What became of a document: its value is worse, or better, than the baseline's, or both runs have it wrong."""

    LOST = "lost"
    WON = "won"
    BOTH_WRONG = "both_wrong"


class RunColumns(NamedTuple):
    """What is read of a run."""

    documents: DocumentColumns
    values: ValueColumns


class PairedRows(NamedTuple):
    """The rows of documents in either run, four bytes each, in the order of the candidate's rows."""

    baseline: bytes
    candidate: bytes


def find_flips(baseline: RunColumns, candidate: RunColumns, *, lower_is_better: bool) -> dict[FlipKind, PairedRows]:
    """Return the rows of each kind. Documents that failed in a run, or have no value there, are of none."""
    pairs = pair_documents(baseline.documents, candidate.documents)
    left, _ = pick_values(baseline.values, pairs.baseline)
    right, _ = pick_values(candidate.values, pairs.candidate)
    wrong = [read_flag(run.values.flags, run.values.rows, SampleFlag.WRONG) for run in (baseline, candidate)]
    found: dict[FlipKind, list[tuple[int, int]]] = {flip: [] for flip in FlipKind}
    for row, other, new, old in zip(pairs.candidate, pairs.baseline, right, left, strict=True):
        if not (is_number(old) and is_number(new)):
            continue
        if old != new:
            found[FlipKind.LOST if (new > old) is lower_is_better else FlipKind.WON].append((row, other))
        if wrong[0][other] and wrong[1][row]:
            found[FlipKind.BOTH_WRONG].append((row, other))
    return {flip: _pack(rows) for flip, rows in found.items()}


def _pack(rows: list[tuple[int, int]]) -> PairedRows:
    rows.sort()
    candidate, baseline = array("I", (row for row, _ in rows)), array("I", (other for _, other in rows))
    return PairedRows(baseline.tobytes(), candidate.tobytes())
