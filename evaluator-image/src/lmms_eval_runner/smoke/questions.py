"""The questions of the smoke task: multiple choice about colour, shape and number, each with one right letter."""

import random
from collections.abc import Sequence
from typing import NamedTuple

from lmms_eval_runner.smoke.images import COLOURS, SHAPES, Scene

DOCUMENTS = 32
_LETTERS = "ABCD"
_ASKED = (
    ("What colour are the shapes?", "colour", tuple(COLOURS)),
    ("Which shape is shown?", "shape", tuple(SHAPES)),
    ("How many shapes are there?", "number", ("1", "2", "3", "4")),
)


class Question(NamedTuple):
    """One document of the task; `id` is its number, which the knobs for failures refer to."""

    id: int
    scene: Scene
    text: str
    answer: str


def questions(seed: int) -> list[Question]:
    """The documents, the same for the same seed."""
    choice = random.Random(seed)
    return [_question(number, choice) for number in range(DOCUMENTS)]


def _question(number: int, choice: random.Random) -> Question:
    scene = Scene(choice.choice(list(SHAPES)), choice.choice(list(COLOURS)), choice.randint(1, 4))
    text, subject, answers = _ASKED[number % len(_ASKED)]
    options = choice.sample(answers, len(answers))
    truth = str(getattr(scene, subject))
    return Question(number, scene, _with_options(text, options), _LETTERS[options.index(truth)])


def _with_options(text: str, options: Sequence[str]) -> str:
    lines = [f"{letter}. {option}" for letter, option in zip(_LETTERS, options, strict=True)]
    return "\n".join([text, *lines])
