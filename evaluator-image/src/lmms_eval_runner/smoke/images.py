"""The pictures of the smoke task: one to four equal shapes of one colour, drawn with Pillow."""

import io
import math
from typing import NamedTuple

from PIL import Image, ImageDraw

COLOURS = {"red": (214, 40, 40), "green": (42, 157, 60), "blue": (38, 84, 200), "yellow": (240, 200, 30)}
SHAPES = {"circle": 48, "triangle": 3, "square": 4, "hexagon": 6}
_SIDE = 96
_BACKGROUND = (245, 245, 240)
_CELL_CENTRES = ((28, 28), (68, 68), (68, 28), (28, 68))
_RADIUS = 17


class Scene(NamedTuple):
    """What a picture shows."""

    shape: str
    colour: str
    number: int


def draw(scene: Scene) -> bytes:
    """The picture of a scene, as PNG."""
    picture = Image.new("RGB", (_SIDE, _SIDE), _BACKGROUND)
    pen = ImageDraw.Draw(picture)
    for centre in _CELL_CENTRES[: scene.number]:
        pen.polygon(_corners(centre, SHAPES[scene.shape]), fill=COLOURS[scene.colour])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _corners(centre: tuple[int, int], sides: int) -> list[tuple[float, float]]:
    x, y = centre
    angles = [math.tau * (0.5 + index) / sides + math.pi / 2 for index in range(sides)]
    return [(x + _RADIUS * math.cos(angle), y + _RADIUS * math.sin(angle)) for angle in angles]
