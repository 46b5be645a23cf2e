"""Which folders of the store have lost their evaluation, and for how long. Pure; `sweeper` acts on it."""

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
    """What to remember for the next time (folder, Unix time of the first sight), and which folders have had their time."""

    orphans: dict[str, float]
    due: list[str]


def judge(folders: Collection[str], living: Collection[str], known: Mapping[str, float], now: float, *, grace: float) -> Verdict:
    """Orphans look like an evaluation's folder and belong to none of `living`; due are those known for `grace` seconds.

    One that was seen first in the future (a clock was wrong) counts from now.
    """
    found = {folder for folder in folders if layout.EVALUATION_FOLDER.fullmatch(folder)} - set(living)
    orphans = {folder: min(known.get(folder, now), now) for folder in sorted(found)[:MOST_ORPHANS]}
    return Verdict(orphans, [folder for folder, since in orphans.items() if now - since >= grace])
