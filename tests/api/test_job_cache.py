import random
from datetime import UTC, datetime
from typing import Any

from evaluation_objects import build_evaluation_object
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_api.jobs.cache import JobCache, QueueOverview
from lmms_eval_api.jobs.snapshot import make_snapshot
from lmms_eval_core.kube.client import Object
from lmms_eval_core.ordering import sort_queue


def cache_of(*objects: Object) -> JobCache:
    cache = JobCache()
    cache.replace([cache.project(item) for item in objects])
    return cache


def position(cache: JobCache, name: str) -> int | None:
    job = cache.get(name)
    assert job is not None
    return cache.find_position(job)


def test_the_line_is_that_of_the_operator() -> None:
    cache = cache_of(
        build_evaluation_object("young", created_at="2026-01-02T00:00:00Z"),
        build_evaluation_object("old", created_at="2026-01-01T00:00:00Z"),
        build_evaluation_object("urgent", created_at="2026-01-03T00:00:00Z", priority=5),
        build_evaluation_object("held", created_at="2025-01-01T00:00:00Z", priority=9, hold=True),
        build_evaluation_object("running", phase="Running"),
        build_evaluation_object("cancelled", cancel=True),
    )
    assert cache.get_overview().queued == ["urgent", "old", "young", "held"]
    assert [position(cache, name) for name in ("urgent", "old", "young", "held", "running", "cancelled")] == [
        0,
        1,
        2,
        3,
        None,
        None,
    ]


def test_within_a_second_the_line_is_in_the_order_in_which_jobs_came() -> None:
    cache = cache_of(
        build_evaluation_object("first", uid="b", version=7), build_evaluation_object("second", uid="a", version=8)
    )
    assert cache.get_overview().queued == ["first", "second"]
    # A change is no new submission, whether a watch or a list tells it.
    changed = build_evaluation_object("first", uid="b", version=9, annotations={"seen": "yes"})
    cache.learn(changed)
    assert cache.get_overview().queued == ["first", "second"]
    cache.replace([cache.project(build_evaluation_object("second", uid="a", version=8)), cache.project(changed)])
    assert cache.get_overview().queued == ["first", "second"]


def test_nobody_waits_for_a_job_that_waits_for_its_next_attempt() -> None:
    now = datetime(2026, 1, 1, 0, 1, tzinfo=UTC).timestamp()
    cache = JobCache(clock=lambda: now)
    later: dict[str, Any] = {"status": {"reason": "Retrying", "nextAttemptAt": "2026-01-01T00:02:00Z"}}
    for item in (
        build_evaluation_object("held", hold=True, **later),
        build_evaluation_object("retried", uid="0", priority=5, **later),
        build_evaluation_object("due", uid="1", status={"reason": "Retrying", "nextAttemptAt": "2026-01-01T00:00:30Z"}),
        build_evaluation_object("new", uid="2"),
    ):
        cache.learn(item)
    assert cache.get_overview().queued == ["due", "new", "retried", "held"]
    assert [position(cache, name) for name in ("due", "new", "retried")] == [0, 1, 2]
    before, told = cache.changes, cache.get_overview()
    assert cache.get_seconds_until_move() == 60
    now += 60
    # Its time has come, and nobody has told anything.
    assert cache.changes != before and cache.get_overview() is not told
    assert cache.get_overview().queued == ["retried", "due", "new", "held"]
    assert (position(cache, "retried"), cache.get_seconds_until_move()) == (0, None)
    cache.learn(build_evaluation_object("retried", uid="0", phase="Running"))
    assert cache.get_overview().queued == ["due", "new", "held"]


def test_counts_and_the_oldest_running_one() -> None:
    cache = cache_of(
        build_evaluation_object("later", phase="Running", status={"startedAt": "2026-01-01T02:00:00Z"}),
        build_evaluation_object("sooner", phase="Running", status={"startedAt": "2026-01-01T01:00:00Z"}),
        build_evaluation_object("done", phase="Completed"),
        build_evaluation_object("broken", phase="Failed"),
        build_evaluation_object("dropped", phase="Cancelled"),
    )
    assert cache.get_overview() == QueueOverview(queued=[], running="sooner", completed=1, failed=1)
    assert len(cache) == 5


def test_an_object_moves_on() -> None:
    cache = cache_of(build_evaluation_object("a"), build_evaluation_object("b"))
    cache.learn(build_evaluation_object("a", phase="Running"))
    assert (cache.get_overview().queued, cache.get_overview().running) == (["b"], "a")
    cache.learn(build_evaluation_object("a", phase="Completed"))
    assert cache.get_overview() == QueueOverview(queued=["b"], running=None, completed=1, failed=0)
    cache.remove(cache.project(build_evaluation_object("a", phase="Completed")))
    assert cache.get_overview().completed == 0
    assert cache.get("a") is None


def test_what_is_older_is_not_believed_wherever_it_comes_from() -> None:
    cache = cache_of(build_evaluation_object("a", version=5, phase="Running"))
    assert cache.learn(build_evaluation_object("a", version=4)).status == "running"
    cache.replace([make_snapshot(build_evaluation_object("a", version=4))])
    known = cache.get("a")
    assert known is not None
    assert known.status == "running"


def test_an_answer_that_comes_after_the_deletion_brings_nothing_back() -> None:
    cache = cache_of(build_evaluation_object("a", version=1))
    cache.remove(cache.project(build_evaluation_object("a", version=3)))
    cache.learn(build_evaluation_object("a", version=2, phase="Running"))
    assert cache.get("a") is None
    cache.learn(build_evaluation_object("a", version=4, uid="the-next-one"))
    assert cache.get("a") is not None


def test_after_a_restore_older_states_count() -> None:
    cache = cache_of(
        build_evaluation_object("a", version=50, phase="Running"), build_evaluation_object("b", version=51)
    )
    cache.remove(cache.project(build_evaluation_object("b", version=52)))
    cache.forget()
    assert len(cache) == 0
    cache.replace([cache.project(build_evaluation_object(name, version=7)) for name in "ab"])
    cache.learn(build_evaluation_object("b", version=8, priority=1))
    assert cache.get_overview().queued == ["b", "a"]


def test_the_deletion_of_the_old_one_leaves_the_new_one_of_this_name() -> None:
    cache = cache_of(build_evaluation_object("a", version=5, uid="new"))
    cache.remove(cache.project(build_evaluation_object("a", version=4, uid="old")))
    assert cache.get("a") is not None


def test_a_new_list_forgets_what_it_lacks() -> None:
    cache = cache_of(build_evaluation_object("a"), build_evaluation_object("b"))
    cache.replace([make_snapshot(build_evaluation_object("b"))])
    assert cache.get("a") is None
    assert cache.get_overview().queued == ["b"]


def test_the_field_managers_are_not_kept() -> None:
    job = cache_of(build_evaluation_object("a")).get("a")
    assert job is not None
    assert "managedFields" not in job.document["metadata"]


changes = st.fixed_dictionaries(
    {
        "name": st.sampled_from("abcde"),
        "phase": st.sampled_from(["Queued", "Queued", "Running", "Completed", "Failed", "Cancelled"]),
        "priority": st.integers(-1, 1),
        "hold": st.booleans(),
        "cancel": st.booleans(),
    }
)


@given(st.lists(changes, max_size=30), st.randoms(use_true_random=False))
def test_in_whatever_order_news_arrive_the_cache_ends_like_a_list_of_the_newest(
    history: list[dict[str, Any]], shuffle: random.Random
) -> None:
    # Each name is of a second of its own: within one, who has seen more of the history knows more of the order.
    created = {name: f"2026-01-01T00:00:{second:02}Z" for second, name in enumerate("ecabd")}
    objects = [
        build_evaluation_object(version=number, created_at=created[change["name"]], **change)
        for number, change in enumerate(history, start=1)
    ]
    newest = {item["metadata"]["name"]: item for item in objects}
    arriving = shuffle.sample(objects, len(objects))
    told, listed = cache_of(), cache_of(*newest.values())
    for item in arriving:
        told.learn(item)
    assert told.get_overview() == listed.get_overview()
    queued = [make_snapshot(item) for item in newest.values() if make_snapshot(item).status == "queued"]
    free = sort_queue(job for job in queued if not job.held)
    assert told.get_overview().queued[: len(free)] == [job.name for job in free]
    assert [position(told, name) for name in told.get_overview().queued] == list(range(len(queued)))
