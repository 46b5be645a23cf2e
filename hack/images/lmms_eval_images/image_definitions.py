"""The images that there are, what each is built from, and how long that usually takes."""

import functools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .console import ImageError

ROOT = Path(__file__).resolve().parents[3]
_CLUSTER = ROOT / "hack" / "cluster"
_WEB = ROOT / "hack" / "web"
# What the web page is built from.
WEB_INPUTS = tuple(
    f"web/{name}"
    for name in ("index.html", "package.json", "package-lock.json", "src", "tsconfig.json", "vite.config.ts")
)
_BUILD_TOOLS = (".dockerignore", "hack/images/requirements-build.lock", "hack/images/with-ca")


@dataclass(frozen=True)
class ImageDefinition:
    """An image: its Dockerfile and the files it is made of (names below the root; folders count whole).

    `usual` is the seconds of a build from nothing on two cores. `prepare` makes what the build takes from the checkout
    and git does not have. `context` gives the folder that the build sees,
    `version` a word for what is in it besides the inputs; `on_base` tells whether the image stands on the base image,
    and `stands_on` names one of ours that it stands on instead. What is not `shipped` is for tests, and built when it
    is named.
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
    prepare: Callable[[], None] = lambda: None
    version: Callable[[], str] = lambda: ""

    @property
    def repository(self) -> str:
        """The name without the tag."""
        return f"localhost/lmms-eval/{self.name}"


@functools.cache
def find_gateway_folder() -> Path:
    """Return the folder that holds the S3 gateway alone, as hack/cluster pins it; it is built first if missing (1 min
    30 s).
    """
    command = [sys.executable, str(_CLUSTER), "tool", "versitygw"]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise ImageError("The S3 gateway's program could not be built; hack/cluster says above why.")
    return Path(done.stdout.strip()).parent


def read_gateway_version() -> str:
    """Return the key under which hack/cluster keeps the gateway: another content, another key."""
    return find_gateway_folder().name


def _list_member_inputs(*names: str) -> tuple[str, ...]:
    return tuple(f"{name}/{part}" for name in names for part in ("pyproject.toml", "src"))


def build_web_page() -> None:
    """Build the page that the front end serves, unless it is there as its sources make it."""
    if subprocess.run([sys.executable, str(_WEB), "build"], check=False).returncode:
        raise ImageError("The web page could not be built; hack/web says above why.")


def _define_service(
    name: str, *, more_inputs: tuple[str, ...] = (), prepare: Callable[[], None] = lambda: None
) -> ImageDefinition:
    own = ("Dockerfile", *_BUILD_TOOLS, *_list_member_inputs("core", name), f"{name}/requirements.lock")
    return ImageDefinition(name, "Dockerfile", (*own, *more_inputs), usual=45, target=name, prepare=prepare)


def _define_gateway() -> ImageDefinition:
    dockerfile = "hack/images/s3.Dockerfile"
    return ImageDefinition(
        "s3",
        dockerfile,
        (dockerfile,),
        usual=2,
        on_base=False,
        context=find_gateway_folder,
        version=read_gateway_version,
    )


_EVALUATOR_INPUTS = (
    "evaluator-image/Dockerfile",
    "evaluator-image/requirements.lock",
    *_BUILD_TOOLS,
    *_list_member_inputs("core", "evaluator-image"),
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
        _define_gateway(),
        _define_service("operator"),
        _define_service("api", more_inputs=WEB_INPUTS, prepare=build_web_page),
        _define_service("reporter"),
        ImageDefinition("evaluator", "evaluator-image/Dockerfile", _EVALUATOR_INPUTS, usual=300),
        ImageDefinition(
            "stub",
            "hack/chaos/stub/Dockerfile",
            _STUB_INPUTS,
            usual=5,
            on_base=False,
            stands_on="reporter",
            shipped=False,
        ),
    )
}
