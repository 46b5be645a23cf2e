"""The images of this checkout: made of files that are there, and of all that the Dockerfiles copy."""

import re

import pytest
from lmms_eval_images.image_definitions import IMAGES, ROOT
from lmms_eval_images.tags import compute_tag


@pytest.mark.parametrize("name", IMAGES)
def test_every_input_is_there(name: str) -> None:
    assert compute_tag(ROOT, IMAGES[name].inputs, [])


@pytest.mark.parametrize("name", ["operator", "api", "reporter", "evaluator", "stub"])
def test_what_the_dockerfile_copies_is_an_input(name: str) -> None:
    image = IMAGES[name]
    services = {"operator", "api", "reporter"} - {name}
    if name != "api":
        services.add("web")
    copied = {source for source in copied_sources(image.dockerfile) if source.split("/")[0] not in services}
    inputs = {*image.inputs, *(entry.partition("/")[0] for entry in image.inputs)}
    covered = {
        source for source in copied if any(source == entry or source.startswith(f"{entry}/") for entry in inputs)
    }
    assert covered == copied


def copied_sources(dockerfile: str) -> set[str]:
    lines = re.findall(r"^COPY (?!--from)(.*)$", (ROOT / dockerfile).read_text(), re.MULTILINE)
    return {source for line in lines for source in line.split()[:-1]}
