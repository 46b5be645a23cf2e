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
from .catalogue import IMAGES, ROOT, Image
from .console import ImageError, duration, say
from .content import fingerprint
from .engines import Engine
from .references import outdated, record

RECORD = ROOT / "build" / "images.json"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status."""
    os.environ["PATH"] += ":/usr/sbin:/sbin"
    options = parser().parse_args(arguments)
    try:
        run(options, cache_folder(os.environ))
    except ImageError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


def run(options: argparse.Namespace, cache: Path) -> None:
    """Do what the parsed arguments ask for."""
    if options.command == "lock":
        lock.write(ROOT, upgrade=options.upgrade)
        return
    engine = engines.choose(os.environ, cache)
    if options.command == "list":
        show(engine)
    else:
        wanted = options.images or [name for name, image in IMAGES.items() if image.shipped]
        build(engine, [IMAGES[name] for name in wanted], cache)


def build(engine: Engine, images: Sequence[Image], cache: Path) -> None:
    """Build the images whose tags are not in the store, write their names down, and remove old ones."""
    references = {image.name: reference_of(image, engine) for image in images}
    if not set(references.values()) <= set(engine.references()):
        with locked(cache):
            references = {image.name: built(engine, image) for image in images}
    record(RECORD, references, engine.references())


def built(engine: Engine, image: Image) -> str:
    """Name an image as the files are now, built first if it is not in the store."""
    reference = reference_of(image, engine)
    if reference not in engine.references():
        if image.stands_on:
            built(engine, IMAGES[image.stands_on])
        build_one(engine, image, reference)
        remove_outdated(engine, image, reference)
    return reference


def build_one(engine: Engine, image: Image, reference: str) -> None:
    """Build one image, saying what and how long."""
    usual = duration(image.usual)
    say(f"Building {reference} (usually {usual} on two cores from nothing, seconds when only our code changed) ...")
    started = time.monotonic()
    engine.build(image, reference, base_of(image, engine), RECORD.parent / "log" / f"image-{image.name}.log")
    say(f"Built {reference}: {engine.size(reference)} after {duration(time.monotonic() - started)}")


def remove_outdated(engine: Engine, image: Image, current: str) -> None:
    """Free the disk of the images that this one's predecessors were."""
    for old in outdated(image.repository, current, engine.references()):
        say(f"Removing {old}, which newer ones have replaced")
        engine.remove(old)


def show(engine: Engine) -> None:
    """Print each image as this checkout would build it, and whether it is there."""
    existing = engine.references()
    for image in IMAGES.values():
        reference = reference_of(image, engine)
        print(f"{reference}  {engine.size(reference) if reference in existing else 'not built'}")


def reference_of(image: Image, engine: Engine) -> str:
    """Name an image by all that it is made of."""
    extra = [base_of(image, engine), image.target, image.version()]
    return f"{image.repository}:{fingerprint(ROOT, image.inputs, extra)}"


def base_of(image: Image, engine: Engine) -> str:
    """Name what an image stands on; empty for one that stands on nothing, or on what its Dockerfile says."""
    if image.stands_on:
        return reference_of(IMAGES[image.stands_on], engine)
    return engine.base if image.on_base else ""


def cache_folder(environ: Mapping[str, str]) -> Path:
    """Give the folder of everything that may be deleted at any time and is then made again."""
    base = environ.get("XDG_CACHE_HOME") or str(Path.home() / ".cache")
    return Path(base) / "lmms-eval-k8s"


@contextmanager
def locked(cache: Path) -> Iterator[None]:
    """Build one image at a time on a machine."""
    cache.mkdir(parents=True, exist_ok=True)
    with (cache / "images.lock").open("w") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another build of images to end ...")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def known(name: str) -> str:
    """Let through the name of an image that there is."""
    if name not in IMAGES:
        raise argparse.ArgumentTypeError(f"there is no image {name!r}; choose from {', '.join(IMAGES)}")
    return name


def parser() -> argparse.ArgumentParser:
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
    some.add_argument("images", nargs="*", type=known, metavar="NAME", help=f"one of {', '.join(IMAGES)}; default: what ships")
    command("list", "print the images as this checkout builds them, and whether they are built")
    pins = command("lock", "write the locked requirements of the images anew; needs make setup")
    pins.add_argument("--upgrade", action="store_true", help="take the newest versions that are allowed")
    return top
