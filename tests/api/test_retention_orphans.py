"""Which files may go: a table, and histories of evaluations, uploads and sweeps under clocks that are
sometimes wrong.
"""

import uuid
from dataclasses import dataclass, field

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lmms_eval_api.retention import orphans
from lmms_eval_api.retention.orphans import plan_sweep
from lmms_eval_core.layout import catalogue_file, evaluation_folder

GRACE = 100
A, B = "a-0f4c6a1e", "b-0f4c6a1e"
OLD, NEW = catalogue_file("01"), catalogue_file("02")


@pytest.mark.parametrize(
    ("folders", "living", "known", "remembered", "due"),
    [
        ([], [], {}, {}, []),
        ([A], [A], {}, {}, []),
        ([A], [], {}, {A: 1000}, []),
        ([A, B], [B], {A: 901}, {A: 901}, []),
        ([A, B], [B], {A: 900}, {A: 900}, [A]),
        # forgotten: back to life (a restored backup), or gone from the store
        ([A], [A], {A: 1}, {}, []),
        ([], [], {A: 1}, {}, []),
        # a clock that was wrong
        ([A], [], {A: 10**9}, {A: 1000}, []),
        # a new evaluation of the same name
        ([A, "a-11111111"], ["a-11111111"], {A: 1}, {A: 1}, [A]),
        # a catalogue of an image that was left, and returned to
        ([OLD, NEW], [NEW], {OLD: 900}, {OLD: 900}, [OLD]),
        ([OLD, NEW], [OLD], {OLD: 900}, {NEW: 1000}, []),
        # nobody's
        (["catalogue", f"{OLD}.json", "a", "a-0f4c6a1", "a-0F4C6A1E", ".x-0f4c6a1e", "-0f4c6a1e"], [], {}, {}, []),
    ],
)
def test_what_is_remembered_and_what_goes(
    folders: list[str], living: list[str], known: dict[str, float], remembered: dict[str, float], due: list[str]
) -> None:
    assert plan_sweep(folders, living, known, 1000, grace=GRACE) == (remembered, due)


def test_what_is_remembered_stays_small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(orphans, "MAX_ORPHANS", 2)
    many = [f"e{number}-0f4c6a1e" for number in range(5)]
    assert plan_sweep(many, [], {many[0]: 1}, 1000, grace=GRACE) == ({many[0]: 1, many[1]: 1000}, [many[0]])


FOLDERS = st.sampled_from([f"{name}-{number}f4c6a1e" for name in "abc" for number in "0123"] + ["catalogue", "a"])
MOMENT = st.integers(0, 1000)


@given(st.sets(FOLDERS), st.sets(FOLDERS), st.dictionaries(FOLDERS, MOMENT), MOMENT)
def test_nothing_goes_that_lives_or_is_young(
    folders: set[str], living: set[str], known: dict[str, float], now: int
) -> None:
    remembered, due = plan_sweep(folders, living, known, now, grace=GRACE)
    assert not set(due) & living and not remembered.keys() & living
    assert set(due) <= remembered.keys() <= folders
    for folder in due:
        assert known[folder] + GRACE <= now
    assert all(since <= now for since in remembered.values())


@dataclass
class World:
    """An API server and a store, the true time, and what sweeps of two replicas remember."""

    now: float = 1000.0
    living: set[str] = field(default_factory=set)
    store: set[str] = field(default_factory=set)
    died_at: dict[str, float] = field(default_factory=dict)
    remembered: dict[str, float] = field(default_factory=dict)

    def create(self, name: str) -> None:
        self.living.add(evaluation_folder(name, str(uuid.uuid4())))

    def delete(self, which: int) -> None:
        if self.living:
            gone = sorted(self.living)[which % len(self.living)]
            self.living.discard(gone)
            self.died_at[gone] = self.now

    def upload(self, which: int) -> None:
        """A reporter, perhaps of an evaluation that is gone."""
        everybody = sorted(self.living | self.died_at.keys())
        if everybody:
            self.store.add(everybody[which % len(everybody)])

    def sweep(
        self, skew: float, between: list[tuple[str, int]], remembered: dict[str, float], *, breaks_after: int
    ) -> None:
        """The store is listed, things happen, the evaluations are listed, things happen, files go; it may break off."""
        folders = set(self.store)
        for what, which in between:
            self.happen(what, which)
        plan = plan_sweep(folders, set(self.living), remembered, self.now + skew, grace=GRACE)
        self.remembered = plan.orphans
        for folder in plan.due[:breaks_after]:
            assert folder not in self.living
            assert self.now - self.died_at[folder] >= GRACE - 2 * SKEW
            self.store.discard(folder)

    def happen(self, what: str, which: int) -> None:
        match what:
            case "create":
                self.create("abc"[which % 3])
            case "delete":
                self.delete(which)
            case "upload":
                self.upload(which)
            case "wait":
                self.now += which


SKEW = 5
Step = tuple[str, int]
Sweep = tuple[int, list[Step], bool, int]
STEP = st.tuples(st.sampled_from(["create", "delete", "upload", "wait"]), st.integers(0, 60))
SWEEP = st.tuples(st.integers(-SKEW, SKEW), st.lists(STEP, max_size=3), st.booleans(), st.integers(0, 3))


@given(st.lists(st.one_of(STEP.map(lambda step: (step, None)), SWEEP.map(lambda sweep: (None, sweep))), max_size=40))
def test_whatever_happens_the_files_of_the_living_stay(history: list[tuple[Step | None, Sweep | None]]) -> None:
    world, stale = World(), dict[str, float]()
    for step, sweep in history:
        if step is not None:
            world.happen(*step)
        if sweep is not None:
            skew, between, late, breaks_after = sweep
            before = dict(world.remembered)
            # A replica that lost a race works with what was remembered a sweep ago.
            world.sweep(skew, between, stale if late else before, breaks_after=breaks_after)
            stale = before
    # At last everything without an evaluation goes, and nothing else.
    for _ in range(3):
        world.now += 2 * GRACE
        world.sweep(0, [], dict(world.remembered), breaks_after=10**6)
    assert world.store <= world.living
