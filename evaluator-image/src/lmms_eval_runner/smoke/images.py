"""The pictures of the smoke task: one to four equal shapes of one colour, drawn with Pillow."""

import io
import math

from PIL import Image, ImageDraw

from lmms_eval_runner.smoke.questions import Scene

COLOURS = {"red": (214, 40, 40), "green": (42, 157, 60), "blue": (38, 84, 200), "yellow": (240, 200, 30)}
CORNERS = {"triangle": 3, "square": 4, "hexagon": 6, "circle": 48}
_SIDE = 96
_BACKGROUND = (245, 245, 240)
_CELL_CENTRES = ((28, 28), (68, 68), (68, 28), (28, 68))
_RADIUS = 17


def draw(scene: Scene) -> bytes:
    """The picture of a scene, as PNG."""
    picture = Image.new("RGB", (_SIDE, _SIDE), _BACKGROUND)
    pen = ImageDraw.Draw(picture)
    for centre in _CELL_CENTRES[: scene.number]:
        pen.polygon(_corners(centre, CORNERS[scene.shape]), fill=COLOURS[scene.colour])
    buffer = io.BytesIO()
    picture.save(buffer, "PNG")
    return buffer.getvalue()


def _corners(centre: tuple[int, int], number: int) -> list[tuple[float, float]]:
    x, y = centre
    angles = [math.tau * (0.5 + index) / number + math.pi / 2 for index in range(number)]
    return [(x + _RADIUS * math.cos(angle), y + _RADIUS * math.sin(angle)) for angle in angles]
