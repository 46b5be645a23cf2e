"""Which folders of the store have lost their evaluation, and which catalogues their image, and for how long.

Pure; `sweeper` acts on it.
"""

from collections.abc import Collection, Mapping
from enum import StrEnum
from typing import Final, NamedTuple

from lmms_eval_core import layout

# What is remembered stays small (10 MB); the rest has its turn when these are gone.
MOST_ORPHANS: Final = 100_000


class Sweeping(StrEnum):
    """How the sweeper fares, for people who watch over the installation."""

    OFF = "off"
    WAITING = "waiting for its first turn"
    DONE = "done"
    SHARED = "stopped: another installation uses the same folder of the store"
    FAILED = "failed, and tried again"


class Verdict(NamedTuple):
    """What to remember for the next time (name, Unix time of the first sight), and what has had its time."""

    orphans: dict[str, float]
    due: list[str]


def judge(names: Collection[str], living: Collection[str], known: Mapping[str, float], now: float, *, grace: float) -> Verdict:
    """Orphans look like ours and are none of `living`; due are those known for `grace` seconds.

    One that was seen first in the future (a clock was wrong) counts from now.
    """
    found = {name for name in names if _looks_like_ours(name)} - set(living)
    orphans = {name: min(known.get(name, now), now) for name in sorted(found)[:MOST_ORPHANS]}
    return Verdict(orphans, [name for name, since in orphans.items() if now - since >= grace])


def _looks_like_ours(name: str) -> bool:
    return bool(layout.EVALUATION_FOLDER.fullmatch(name) or layout.STORED_CATALOGUE.fullmatch(name))
