"""The questions of the smoke task: multiple choice about colour, shape and number, each with one right letter."""

import random
from collections.abc import Sequence
from typing import NamedTuple

DOCUMENTS = 32
SHAPES = ("circle", "triangle", "square", "hexagon")
COLOURS = ("red", "green", "blue", "yellow")
NUMBERS = (1, 2, 3, 4)
_LETTERS = "ABCD"
_ASKED = (
    ("What colour are the shapes?", "colour", COLOURS),
    ("Which shape is shown?", "shape", SHAPES),
    ("How many shapes are there?", "number", NUMBERS),
)


class Scene(NamedTuple):
    """What a picture shows: equal shapes of one colour."""

    shape: str
    colour: str
    number: int


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
    scene = Scene(choice.choice(SHAPES), choice.choice(COLOURS), choice.choice(NUMBERS))
    text, subject, answers = _ASKED[number % len(_ASKED)]
    options = choice.sample(answers, len(answers))
    return Question(number, scene, _with_options(text, options), _LETTERS[options.index(getattr(scene, subject))])


def _with_options(text: str, options: Sequence[object]) -> str:
    lines = [f"{letter}. {option}" for letter, option in zip(_LETTERS, options, strict=True)]
    return "\n".join([text, *lines])
