"""What the stand-in answers, and the scores of that. Pure.

Both follow from the evaluation alone, so that its scores are the same whichever attempts gave the answers.
"""

import hashlib
from collections.abc import Sequence

from .behaviour import StubEnding

TASK = "stub_vqa"
ANSWERS = 8


def make_target(number: int) -> str:
    """Return the right answer to a document."""
    return hashlib.sha256(f"{TASK}/{number}".encode()).hexdigest()[:12]


def make_answer(number: int, ending: StubEnding) -> str:
    """Return the answer to a document, which is right, or "" where it fails."""
    fails = ending is StubEnding.SWALLOW or (ending is StubEnding.SUSPECT and number % 2)
    return "" if fails else make_target(number)


def compute_scores(answers: Sequence[str]) -> dict[str, float]:
    """Return the share of right answers, and a number that changes with every answer and with their order."""
    right = sum(answer == make_target(number) for number, answer in enumerate(answers))
    digest = hashlib.sha256("\n".join(answers).encode()).hexdigest()
    return {"accuracy,none": right / len(answers), "digest,none": int(digest[:12], 16) / 16**12}


def compute_undisturbed_scores(ending: StubEnding) -> dict[str, dict[str, float]]:
    """Return the scores of a run that nothing interrupts, by task and metric."""
    return {TASK: compute_scores([make_answer(number, ending) for number in range(ANSWERS)])}
