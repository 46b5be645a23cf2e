"""Runs inside the evaluator image: what keeping the images of documents costs, on the adapter's thread and in all.

What `resume` makes rows of is one line of JSON, the last one.
"""

import json
import resource
import tempfile
import time
from pathlib import Path
from typing import Any

from lmms_eval_core.media import MediaPolicy
from lmms_eval_core.run import RunInput
from lmms_eval_runner.media.capture import Capture
from lmms_eval_runner.media.encoder import Encoder
from lmms_eval_runner.media.folder import MediaFolder
from lmms_eval_runner.media.tags import DocumentTag, TaggedDocument

# As of a telephone's camera, and as of a chart or a screenshot.
SIZES = {"photograph": (4000, 3000), "picture": (1024, 768)}
IMAGES = 12


def measure() -> dict[str, Any]:
    """For each size: processor time of an image in ms, on the adapter's thread and in all, and its bytes."""
    return {name: _measure(size) for name, size in SIZES.items()}


def _measure(size: tuple[int, int]) -> dict[str, float]:
    images = [_make_image(size, number) for number in range(IMAGES)]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        run = RunInput.model_validate(
            {
                "namespace": "bench",
                "name": "media",
                "uid": "1",
                "attempt": 1,
                "harness": {"model": "m", "tasks": ["t"]},
                "media": {"policy": MediaPolicy.DISPLAY},
            }
        )
        encoder = Encoder(MediaFolder(run, folder), MediaPolicy.DISPLAY)
        draw = Capture(encoder, MediaPolicy.DISPLAY).wrap(lambda document: [images[document.tag.number]])
        own, everything = time.thread_time(), _read_processor_time()
        for number in range(IMAGES):
            document = TaggedDocument()
            document.tag = DocumentTag("t", "test", number)
            draw(document)
        own = time.thread_time() - own
        if not encoder.finish(120):
            raise RuntimeError("the images are not encoded")
        everything = _read_processor_time() - everything
        files = [path.stat().st_size for path in (folder / "media").iterdir()]
        if len(files) != 2 * IMAGES:
            raise RuntimeError(f"{len(files)} files of {IMAGES} images")
    return {"own": 1000 * own / IMAGES, "all": 1000 * everything / IMAGES, "bytes": sum(files) / IMAGES}


def _make_image(size: tuple[int, int], number: int) -> Any:
    """An image with edges, gradients and noise, as cameras make."""
    from PIL import Image

    place = -2 + number / 100, -1.5, 1, 1.5
    bands = [Image.effect_mandelbrot((size[0] // 4, size[1] // 4), place, 20 + 20 * band) for band in range(3)]
    image = Image.merge("RGB", bands).resize(size)
    noise = Image.effect_noise(size, 12).convert("RGB")
    return Image.blend(image, noise, 0.2)


def _read_processor_time() -> float:
    used = resource.getrusage(resource.RUSAGE_SELF)
    return used.ru_utime + used.ru_stime


def main() -> None:
    """Prints what was measured."""
    print(json.dumps(measure()))


if __name__ == "__main__":
    main()
