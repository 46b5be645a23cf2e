"""Which images there are, what each is built from, and how long that usually takes."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from . import gateway

ROOT = Path(__file__).resolve().parents[3]
_BUILD_TOOLS = (".dockerignore", "hack/images/requirements-build.lock", "hack/images/with-ca")


@dataclass(frozen=True)
class Image:
    """An image: its Dockerfile and the files it is made of (names below the root; folders count whole).

    `usual` is the seconds of a build from nothing on two cores. `context` gives the folder that the build sees, `version`
    a word for what is in it besides the inputs; `on_base` tells whether the image stands on the base image, and
    `stands_on` names one of ours that it stands on instead. What is not `shipped` is for tests, and built when it is named.
    """

    name: str
    dockerfile: str
    inputs: tuple[str, ...]
    usual: int
    target: str = ""
    on_base: bool = True
    stands_on: str = ""
    shipped: bool = True
    context: Callable[[], Path] = lambda: ROOT
    version: Callable[[], str] = lambda: ""

    @property
    def repository(self) -> str:
        """Give the name without the tag."""
        return f"localhost/lmms-eval/{self.name}"


def _members(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}/{part}" for name in names for part in ("pyproject.toml", "src"))


def _service(name: str) -> Image:
    inputs = ("Dockerfile", *_BUILD_TOOLS, *_members("core", name), f"{name}/requirements.lock")
    return Image(name, "Dockerfile", inputs, usual=45, target=name)


def _gateway() -> Image:
    dockerfile = "hack/images/s3.Dockerfile"
    return Image("s3", dockerfile, (dockerfile,), usual=2, on_base=False, context=gateway.folder, version=gateway.version)


_EVALUATOR_INPUTS = (
    "evaluator-image/Dockerfile",
    "evaluator-image/requirements.lock",
    *_BUILD_TOOLS,
    *_members("core", "evaluator-image"),
)

_STUB_INPUTS = (
    "hack/chaos/stub/Dockerfile",
    "hack/chaos/stub/lmms_eval",
    "evaluator-image/src/lmms_eval_runner",
    ".dockerignore",
)

IMAGES = {
    image.name: image
    for image in (
        _gateway(),
        _service("operator"),
        _service("api"),
        _service("reporter"),
        Image("evaluator", "evaluator-image/Dockerfile", _EVALUATOR_INPUTS, usual=300),
        Image("stub", "hack/chaos/stub/Dockerfile", _STUB_INPUTS, usual=5, on_base=False, stands_on="reporter", shipped=False),
    )
}
