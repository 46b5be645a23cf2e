"""Finds the documents that changed between two runs, and those that both have wrong. Pure.

Everything raises DamagedIndex where the bytes are no index.
"""

from array import array
from enum import StrEnum
from itertools import islice
from operator import le
from typing import NamedTuple

from lmms_eval_core.compare.columns import (
    DocumentColumns,
    Pairs,
    ValueColumns,
    is_number,
    pair_documents,
    pick_values,
)
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
    found = {flip: array("I") for flip in FlipKind}
    for place, (old, new) in enumerate(zip(left, right, strict=True)):
        if not (is_number(old) and is_number(new)):
            continue
        if old != new:
            found[FlipKind.LOST if (new > old) is lower_is_better else FlipKind.WON].append(place)
        if wrong[0][pairs.baseline[place]] and wrong[1][pairs.candidate[place]]:
            found[FlipKind.BOTH_WRONG].append(place)
    return {flip: _pack(pairs, places) for flip, places in found.items()}


def _pack(pairs: Pairs, places: "array[int]") -> PairedRows:
    """Return the rows of pairs at these places. They are sorted as numbers, which take little memory."""
    rows = array("Q", (pairs.candidate[place] << 32 | pairs.baseline[place] for place in places))
    if not all(map(le, rows, islice(rows, 1, None))):
        rows = array("Q", sorted(rows))
    baseline, candidate = array("I", (both & 0xFFFF_FFFF for both in rows)), array("I", (both >> 32 for both in rows))
    return PairedRows(baseline.tobytes(), candidate.tobytes())
