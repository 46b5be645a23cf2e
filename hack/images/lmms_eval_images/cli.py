"""The command line: `python3 hack/images COMMAND`."""

import argparse
import fcntl
import os
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from . import engines, lock
from .console import ImageError, format_duration, say
from .engines import Engine
from .image_definitions import IMAGES, ROOT, ImageDefinition
from .tags import compute_tag, list_outdated, record_images

RECORD = ROOT / "build" / "images.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    options = make_parser().parse_args(arguments)
    try:
        run(options, find_cache_folder(os.environ))
    except ImageError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace, cache: Path) -> None:
    """Do what the parsed arguments ask for."""
    if options.command == "lock":
        lock.write(ROOT, upgrade=options.upgrade)
        return
    engine = engines.choose_engine(os.environ, cache)
    if options.command == "list":
        print_images(engine)
    else:
        wanted = options.images or [name for name, image in IMAGES.items() if image.shipped]
        build(engine, [IMAGES[name] for name in wanted], cache)


def build(engine: Engine, images: Sequence[ImageDefinition], cache: Path) -> None:
    """Build the images whose tags are not in the store, write their names down, and remove old ones."""
    references = {image.name: name_image(image, engine) for image in images}
    if not set(references.values()) <= set(engine.list_references()):
        with lock_builds(cache):
            references = {image.name: build_if_missing(engine, image) for image in images}
    record_images(RECORD, references, engine.list_references())


def build_if_missing(engine: Engine, image: ImageDefinition) -> str:
    """Name an image as the files are now, built first if it is not in the store."""
    reference = name_image(image, engine)
    if reference not in engine.list_references():
        if image.stands_on:
            build_if_missing(engine, IMAGES[image.stands_on])
        build_one(engine, image, reference)
        remove_outdated(engine, image, reference)
    return reference


def build_one(engine: Engine, image: ImageDefinition, reference: str) -> None:
    """Build one image, saying what and how long."""
    usual = format_duration(image.usual)
    say(f"Building {reference} (usually {usual} on two cores from nothing, seconds when only our code changed) ...")
    started = time.monotonic()
    image.prepare()
    engine.build(image, reference, find_base(image, engine), RECORD.parent / "log" / f"image-{image.name}.log")
    say(f"Built {reference}: {engine.read_size(reference)} after {format_duration(time.monotonic() - started)}")


def remove_outdated(engine: Engine, image: ImageDefinition, current: str) -> None:
    """Free the disk of the images that this one's predecessors were."""
    for old in list_outdated(image.repository, current, engine.list_references()):
        say(f"Removing {old}, which newer ones have replaced")
        engine.remove(old)


def print_images(engine: Engine) -> None:
    """Print each image as this checkout would build it, and whether it is there."""
    existing = engine.list_references()
    for image in IMAGES.values():
        reference = name_image(image, engine)
        print(f"{reference}  {engine.read_size(reference) if reference in existing else 'not built'}")


def name_image(image: ImageDefinition, engine: Engine) -> str:
    """Name an image by all that it is made of."""
    extra = [find_base(image, engine), image.target, image.version()]
    return f"{image.repository}:{compute_tag(ROOT, image.inputs, extra)}"


def find_base(image: ImageDefinition, engine: Engine) -> str:
    """Name what an image stands on; empty for one that stands on nothing, or on what its Dockerfile says."""
    if image.stands_on:
        return name_image(IMAGES[image.stands_on], engine)
    return engine.base if image.on_base else ""


def find_cache_folder(environ: Mapping[str, str]) -> Path:
    """Return the folder of everything that may be deleted at any time and is then made again."""
    base = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "lmms-eval-k8s"


@contextmanager
def lock_builds(cache: Path) -> Iterator[None]:
    """Build one image at a time on a machine."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "images.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another build of images to end ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def check_name(name: str) -> str:
    """Let through the name of an image that there is."""
    if name not in IMAGES:
        raise argparse.ArgumentTypeError(f"there is no image {name!r}; choose from {', '.join(IMAGES)}")
    return name


def make_parser() -> argparse.ArgumentParser:
    """Describe the commands and their options."""
    top = argparse.ArgumentParser(
        prog="hack/images",
        description="Builds the images, with docker where an engine answers, else with buildah.",
        epilog="LMMS_EVAL_BASE_IMAGE names another base image; LMMS_EVAL_CLUSTER_PROVIDER=local asks for buildah.",
    )
    commands = top.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, text: str) -> argparse.ArgumentParser:
        return commands.add_parser(name, help=text, description=text)

    some = command("build", "build what is not built yet and write the names to build/images.json")
    some.add_argument(
        "images", nargs="*", type=check_name, metavar="NAME", help=f"one of {', '.join(IMAGES)}; default: what ships"
    )
    command("list", "print the images as this checkout builds them, and whether they are built")
    pins = command("lock", "write the locked requirements of the images anew; needs make setup")
    pins.add_argument("--upgrade", action="store_true", help="take the newest versions that are allowed")
    return top
