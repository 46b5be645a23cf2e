"""The view never goes back in time, whatever comes late, twice or not at all."""

from dataclasses import dataclass
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from operator_builders import queued

from lmms_eval_core.kube.client import EVALUATIONS, JOBS, LEASES, PODS
from lmms_eval_core.ordering import sort_queue
from lmms_eval_core.phases import Phase
from lmms_eval_operator.derive import derive_queued, is_in_status
from lmms_eval_operator.objects import parse_evaluation, parse_version
from lmms_eval_operator.slots import Holder, parse_holder
from lmms_eval_operator.versioned_collection import VersionedCollection
from lmms_eval_operator.view import LiveEvaluations, View


@dataclass(frozen=True)
class Thing:
    uid: str
    version: str
    wanted: bool = True


def things() -> VersionedCollection[Thing]:
    return VersionedCollection(lambda thing: thing.wanted)


def versions(collection: VersionedCollection[Thing]) -> dict[str, str]:
    return {thing.uid: thing.version for thing in collection}


def test_a_newer_state_is_news_and_an_older_one_is_not() -> None:
    collection = things()
    assert collection.put(Thing("a", "5"))
    assert not collection.put(Thing("a", "5"))
    assert not collection.put(Thing("a", "4"))
    assert collection.put(Thing("a", "10"))
    assert versions(collection) == {"a": "10"} and len(collection) == 1


def test_a_removed_object_has_no_ghost() -> None:
    collection = things()
    collection.put(Thing("a", "5"))
    assert collection.remove("a", "7")
    assert not collection.remove("a", "7")
    assert not collection.put(Thing("a", "6"))
    assert collection.put(Thing("a", "8", wanted=False)) is False
    assert versions(collection) == {}


def test_a_late_removal_does_not_remove_a_newer_state() -> None:
    collection = things()
    collection.put(Thing("a", "8"))
    assert not collection.remove("a", "7")
    assert versions(collection) == {"a": "8"}


def test_what_is_not_wanted_any_more_is_gone() -> None:
    collection = things()
    collection.put(Thing("a", "5"))
    assert collection.put(Thing("a", "6", wanted=False))
    assert not collection.put(Thing("a", "5"))
    assert versions(collection) == {}


def test_a_list_is_the_truth_as_of_its_version() -> None:
    collection = things()
    for thing in (Thing("gone", "5"), Thing("younger", "20"), Thing("old", "5"), Thing("newer", "15")):
        collection.put(thing)
    collection.put(Thing("removed", "3"))
    collection.remove("removed", "30")
    collection.replace(
        [Thing("old", "9"), Thing("newer", "8"), Thing("removed", "3"), Thing("unwanted", "3", wanted=False)], "10"
    )
    assert versions(collection) == {"younger": "20", "old": "9", "newer": "15"}
    assert not collection.put(Thing("gone", "9")), "an event from before the list"


def test_an_object_found_to_be_gone_stays_gone_for_old_events() -> None:
    collection = things()
    collection.put(Thing("a", "5"))
    collection.forget("a")
    collection.forget("b")
    assert not collection.put(Thing("a", "5"))
    assert collection.put(Thing("a", "6"))


def test_versions_are_compared_as_numbers() -> None:
    assert parse_version("10") > parse_version("9") > parse_version("odd")


@given(st.lists(st.tuples(st.sampled_from("ab"), st.integers(1, 20), st.booleans()), max_size=30), st.randoms())
def test_in_whatever_order_events_come_the_newest_state_stands(
    history: list[tuple[str, int, bool]], random: Any
) -> None:
    """Each object's versions are unique, as the API server's are."""
    truth: dict[str, tuple[int, bool]] = {}
    unique = {(uid, version): deleted for uid, version, deleted in history}
    for (uid, version), deleted in unique.items():
        truth[uid] = max(truth.get(uid, (0, True)), (version, deleted))
    events = [(uid, version, deleted) for (uid, version), deleted in unique.items()]
    random.shuffle(events)
    collection = things()
    for uid, version, deleted in events:
        collection.remove(uid, str(version)) if deleted else collection.put(Thing(uid, str(version)))
    assert versions(collection) == {uid: str(version) for uid, (version, deleted) in truth.items() if not deleted}


CHANGES = st.fixed_dictionaries(
    {
        "priority": st.integers(-1, 1),
        "hold": st.booleans(),
        "cancel": st.booleans(),
        "reason": st.sampled_from(["WaitingForTurn", "OnHold"]),
        "phase": st.sampled_from([Phase.QUEUED, Phase.QUEUED, Phase.RUNNING, Phase.FAILED]),
        "created_at": st.sampled_from(["1", "2"]),
    }
)


@given(st.lists(st.tuples(st.sampled_from("abcd"), st.none() | CHANGES), max_size=30))
def test_the_queue_is_always_in_everybodys_order_and_only_those_at_rest_are_not_looked_at(history: list[Any]) -> None:
    evaluations = LiveEvaluations()
    for version, (name, change) in enumerate(history):
        if change is None:
            evaluations.remove(f"{name}-uid", str(version))
        else:
            evaluations.put(queued(name, version=str(version), **change))
    assert list(evaluations.iterate_queue()) == sort_queue(item for item in evaluations if item.is_startable)
    at_rest = [item for item in evaluations if item not in evaluations.list_unsettled()]
    assert all(
        item.phase is Phase.QUEUED and not item.cancel and is_in_status(item, derive_queued(item)) for item in at_rest
    )
    assert set(evaluations.list_unsettled()) <= set(evaluations)


def test_events_are_learnt_by_their_resource() -> None:
    view = View()
    labels = {
        "lmms-eval.io/evaluation": "a",
        "lmms-eval.io/evaluation-uid": "12345678-9",
        "lmms-eval.io/attempt": "1",
        "lmms-eval.io/slot": "0",
    }
    metadata = {"name": "a-12345678-a1", "uid": "u", "resourceVersion": "5", "labels": labels}
    assert view.learn(JOBS, False, {"metadata": metadata})
    assert view.learn(PODS, False, {"metadata": metadata})
    assert view.learn(EVALUATIONS, False, {"metadata": metadata})
    assert not view.learn(LEASES, False, {"metadata": metadata})
    assert not view.learn(JOBS, False, {"metadata": {**metadata, "name": "another", "resourceVersion": "6"}}), (
        "not an attempt's Job"
    )
    assert not view.learn(PODS, False, {"metadata": {**metadata, "labels": {}, "resourceVersion": "6"}})
    assert view.learn(JOBS, True, {"metadata": {**metadata, "resourceVersion": "7"}})
    assert (len(view.jobs), len(view.pods), len(view.evaluations)) == (0, 1, 1)


def test_holders_are_written_and_read_alike() -> None:
    holder = Holder("a", "uid", 3)
    assert parse_holder(str(holder)) == holder
    assert [parse_holder(text) for text in ("", "a/b", "a/b/c", "a/b/1/2")] == [None] * 4


def test_a_list_that_is_older_than_what_was_known_before_it_replaces_everything() -> None:
    collection = things()
    for thing in (Thing("gone", "50"), Thing("older", "60"), Thing("removed", "20")):
        collection.put(thing)
    collection.remove("removed", "70")
    asked_at = collection.newest
    assert asked_at == 70
    assert collection.replace([Thing("older", "30"), Thing("removed", "20")], "40", asked_at=asked_at)
    assert versions(collection) == {"older": "30", "removed": "20"}
    assert collection.put(Thing("older", "41")) and not collection.put(Thing("older", "39"))
    assert not collection.replace([Thing("older", "41")], "45", asked_at=collection.newest)


def test_a_list_is_not_older_for_what_came_while_it_was_on_its_way() -> None:
    collection = things()
    collection.put(Thing("a", "5"))
    asked_at = collection.newest
    collection.put(Thing("a", "9"))
    assert not collection.replace([Thing("a", "5")], "7", asked_at=asked_at)
    assert versions(collection) == {"a": "9"}


def created(name: str, version: int, *, uid: str, second: int = 0, **spec: Any) -> Any:
    metadata = {
        "name": name,
        "uid": uid,
        "resourceVersion": str(version),
        "creationTimestamp": f"2026-01-01T00:00:0{second}Z",
    }
    return parse_evaluation(
        {"metadata": metadata, "spec": spec, "status": {"phase": "Queued", "reason": "WaitingForTurn"}}
    )


def in_line(evaluations: LiveEvaluations) -> list[str]:
    return [item.name for item in evaluations.iterate_queue()]


def test_those_of_one_second_stand_in_the_order_of_their_creation() -> None:
    evaluations = LiveEvaluations()
    for name, version, uid in (("third", 13, "a"), ("first", 11, "c"), ("second", 12, "b")):
        evaluations.put(created(name, version, uid=uid))
    evaluations.put(created("older", 50, uid="d", second=0, priority=0))
    evaluations.put(created("younger", 10, uid="0", second=1))
    assert in_line(evaluations) == ["first", "second", "third", "older", "younger"]


def test_a_change_keeps_the_place_among_those_of_one_second() -> None:
    evaluations = LiveEvaluations()
    evaluations.replace([created("first", 11, uid="b"), created("second", 12, uid="a")], "20")
    evaluations.put(created("first", 30, uid="b", hold=True))
    assert in_line(evaluations) == ["second"]
    evaluations.put(created("first", 40, uid="b"))
    assert in_line(evaluations) == ["first", "second"]
    evaluations.replace([created("first", 41, uid="b"), created("second", 12, uid="a")], "50")
    assert in_line(evaluations) == ["first", "second"]
    evaluations.remove("b", "60")
    assert in_line(evaluations) == ["second"]


def test_of_a_name_that_was_used_again_the_later_one_is_found() -> None:
    evaluations = LiveEvaluations()
    evaluations.put(created("main", 11, uid="a"))
    evaluations.put(created("main", 12, uid="b"))
    evaluations.remove("a", "13")
    found = evaluations.find_named("main")
    assert found is not None and found.uid == "b"
    evaluations.remove("b", "14")
    assert evaluations.find_named("main") is None
