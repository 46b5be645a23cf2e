"""What has had its time: a table, and what holds whatever there is."""

from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_core.kube.client import Object
from lmms_eval_core.names import CREATED_BY_API, LABEL_CREATED_BY
from lmms_eval_operator.plan.retain import Finished, Retained, parse_finished, retain
from lmms_eval_operator.retention import trim_finished

ENDED = "2026-01-01T00:00:00Z"
ENDED_AT = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
BY_API = {LABEL_CREATED_BY: CREATED_BY_API}
NEVER = float("inf")


def one(name: str, ended_at: float, ttl: int | None = None, *, api: bool = True, completed: bool = True) -> Finished:
    return Finished(f"uid-{name}", name, "1", ended_at=ended_at, ttl=ttl, from_api=api, completed=completed)


def without(name: str, ended_at: float, ttl: int | None = None) -> Finished:
    """One that ended without results."""
    return one(name, ended_at, ttl, completed=False)


def names(retained: Retained) -> str:
    return "".join(item.name for item in retained.expired)


@pytest.mark.parametrize(
    ("known", "max_finished", "over", "due_at"),
    [
        ([], 1, "", NEVER),
        # maxFinished: the oldest of the front end's, by their end
        ([one("b", 2), one("a", 1), one("c", 3)], 2, "a", NEVER),
        ([one("b", 2), one("a", 1), one("c", 3)], 1, "ab", NEVER),
        ([one("b", 2), one("a", 1), one("c", 3)], 3, "", NEVER),
        ([one("b", 2), one("a", 1), one("c", 3)], 0, "", NEVER),
        ([one("a", 1, api=False), one("b", 2), one("c", 3)], 1, "b", NEVER),
        ([one("b", 1), one("a", 1)], 1, "a", NEVER),
        # ttlSecondsAfterFinished: whoever created it, to the second
        ([one("a", 90, 10, api=False), one("b", 91, 10)], 9, "a", 101),
        ([one("a", 100, 0)], 9, "a", NEVER),
        ([one("a", 90, 10**12)], 9, "", 90 + 10**12),
        # what its own time takes makes room for the others
        ([one("a", 1), one("b", 90, 10), one("c", 99)], 2, "b", NEVER),
        ([one("a", 1, 1000), one("b", 2)], 1, "a", 1001),
        # what has no results goes before what has
        ([one("a", 1), one("b", 2), without("c", -1000), without("d", -999)], 2, "cd", NEVER),
        ([one("a", 1), one("b", 2), without("c", -1000), without("d", -999)], 1, "cda", NEVER),
        ([one("a", 1), without("c", -1000), without("d", -999)], 2, "c", NEVER),
        # but not before somebody could ask how it ended; until then it takes nobody's place
        ([one("a", 1), without("b", 50), without("c", 60)], 1, "", 650),
        ([one("a", 1), without("b", -500), without("c", 60)], 1, "b", 660),
        ([without("a", 50), without("b", 60)], 0, "", NEVER),
        ([without("a", 50, 100)], 1, "", 150),
    ],
)
def test_what_goes_and_when_to_look_again(known: list[Finished], max_finished: int, over: str, due_at: float) -> None:
    retained = retain(known, 100, max_finished=max_finished)
    assert (names(retained), retained.due_at) == (over, due_at)


kept = st.builds(
    one,
    st.uuids().map(str),
    st.integers(0, 200),
    st.none() | st.integers(0, 200),
    api=st.booleans(),
    completed=st.booleans(),
)


@given(st.lists(kept, unique_by=lambda item: item.uid), st.integers(0, 1000), st.integers(0, 5))
def test_nothing_goes_without_a_reason(known: list[Finished], now: int, max_finished: int) -> None:
    over, due_at = retain(known, now, max_finished=max_finished)
    gone = {item.uid for item in over}
    assert len(gone) == len(over)
    stay = [item for item in known if item.uid not in gone]
    counted = [item for item in stay if item.from_api and (item.completed or item.ended_at + 600 <= now)]
    for item in over:
        pruned = item.from_api and max_finished and len(counted) == max_finished
        assert item.due_at <= now or pruned
        assert item.due_at <= now or item.completed or item.ended_at + 600 <= now, "nobody could ask how it ended"
        assert item.due_at <= now or not item.completed or all(other.completed for other in counted), "results go last"
    assert all(item.due_at > now for item in stay)
    assert not max_finished or len(counted) <= max_finished
    assert all(due_at <= item.due_at for item in stay)
    assert retain(stay, now, max_finished=max_finished).expired == []


def wire(
    *, labels: Any = None, ttl: int | None = None, keep: bool | None = None, ended: str | None = ENDED, **metadata: Any
) -> Object:
    return {
        "metadata": {"name": "a", "uid": "u", "resourceVersion": "7", "annotations": {"much": "text"}, "labels": labels}
        | metadata,
        "spec": {"model": "m"}
        | ({} if ttl is None else {"ttlSecondsAfterFinished": ttl})
        | ({} if keep is None else {"keep": keep}),
        "status": {"phase": "Completed", "scores": {}} | ({} if ended is None else {"completedAt": ended}),
    }


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (wire(labels=BY_API), Finished("u", "a", "7", ENDED_AT, None, True)),
        (wire(labels=BY_API, ttl=0), Finished("u", "a", "7", ENDED_AT, 0, True)),
        (wire(ttl=30), Finished("u", "a", "7", ENDED_AT, 30, False)),
        (wire(ttl=30, labels={LABEL_CREATED_BY: "ci"}), Finished("u", "a", "7", ENDED_AT, 30, False)),
        (wire(), None),
        (wire(labels=BY_API, ended=None), None),
        (wire(ttl=0, deletionTimestamp=ENDED), None),
        (wire(labels=BY_API, keep=True), None),
        (wire(ttl=0, keep=True), None),
        (wire(ttl=0, keep=False), Finished("u", "a", "7", ENDED_AT, 0, False)),
    ],
)
def test_what_is_read_of_an_object(item: Object, expected: Finished | None) -> None:
    assert parse_finished(item) == parse_finished(trim_finished(item)) == expected
    assert "annotations" not in trim_finished(item)["metadata"] and trim_finished(item)["status"].keys() == {
        "phase",
        "completedAt",
    }
