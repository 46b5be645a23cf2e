from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_core.ordering import queue_key, sort_queue


@dataclass(frozen=True)
class Waiting:
    uid: str
    priority: int = 0
    created_at: str = "2026-01-01T00:00:00Z"


def test_higher_priority_first_then_older_then_uid() -> None:
    urgent = Waiting("d", priority=5, created_at="2026-01-03T00:00:00Z")
    old = Waiting("c")
    twin = Waiting("b", created_at="2026-01-02T00:00:00Z")
    other = Waiting("a", created_at="2026-01-02T00:00:00Z")
    assert sort_queue([twin, other, old, urgent]) == [urgent, old, other, twin]


@given(
    st.lists(
        st.builds(Waiting, uid=st.uuids().map(str), priority=st.integers(-100, 100)), unique_by=lambda item: item.uid
    )
)
def test_the_order_does_not_depend_on_where_it_starts(items: list[Waiting]) -> None:
    assert sort_queue(items) == sort_queue(reversed(items))


def test_of_one_second_the_one_that_was_seen_first_is_first_and_age_counts_before_that() -> None:
    seen = {Waiting("a"): 12, Waiting("b"): 11, Waiting("c", created_at="2025-12-31T23:59:59Z"): 99}
    line = sorted(seen, key=lambda item: queue_key(item, first_seen=seen[item]))
    assert [item.uid for item in line] == ["c", "b", "a"]
