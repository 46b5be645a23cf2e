"""Which folders of the store have lost their evaluation, and which catalogues their image, and since when.

Pure; `sweeper` deletes what this plans.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from lmms_eval_core import layout

# Keeps the file of orphans small (10 MB); the rest follows when these are deleted.
MAX_ORPHANS: Final = 100_000


class Sweeping(StrEnum):
    """How the sweeper fares, for people who watch over the installation."""

    OFF = "off"
    WAITING = "waiting for its first turn"
    DONE = "done"
    SHARED = "stopped: another installation uses the same folder of the store"
    FAILED = "failed, and tried again"


class SweepPlan(NamedTuple):
    """The orphans to remember (name, Unix time when first seen), and the names of those to delete now."""

    orphans: dict[str, float]
    due: list[str]


def plan_sweep(
    names: Collection[str], living: Collection[str], known: Mapping[str, float], now: float, *, grace: float
) -> SweepPlan:
    """Return the orphans among `names`, and which of them were known for `grace` seconds.

    An orphan has a name of ours and is not in `living`. One that was first seen in the future (a clock was wrong)
    counts from now.
    """
    found = {name for name in names if _is_ours(name)} - set(living)
    orphans = {name: min(known.get(name, now), now) for name in sorted(found)[:MAX_ORPHANS]}
    return SweepPlan(orphans, [name for name, since in orphans.items() if now - since >= grace])


def _is_ours(name: str) -> bool:
    return bool(layout.EVALUATION_FOLDER.fullmatch(name) or layout.STORED_CATALOGUE.fullmatch(name))
