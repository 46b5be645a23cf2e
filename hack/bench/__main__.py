"""`make bench`: installs this checkout into a namespace of its own, measures, prints a table, writes
build/bench.json.
"""

import argparse
import json
import subprocess
import sys
import time
from collections.abc import Callable
from typing import Final

import deployment
from deployment import ROOT, CommandFailed, Deployment

from bench import comparison, latency, overhead, page, resume, rows, samples, scale, start_up
from bench.front_end import __main__ as front_end
from bench.front_end import load

NAMESPACE = "lmms-eval-bench"


def measure_repeated_demo() -> list[rows.Row]:
    """`make demo` where everything is there already."""
    subprocess.run(["make", "demo"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    began = time.monotonic()
    subprocess.run(["make", "demo"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return [rows.Row("make demo, again", time.monotonic() - began, "s", 120.0)]


def read_last_tests() -> list[rows.Row]:
    """The tiers of the last `make test` in this checkout, if there was one: what its time went into."""
    path = ROOT / "build" / "test" / "summary.json"
    outcomes = json.loads(path.read_text()) if path.exists() else []
    return [rows.Row(f"make test, last run: {outcome['name']}", outcome["seconds"], "s") for outcome in outcomes]


def measure_release() -> list[rows.Row]:
    """What needs an installed chart."""
    references = deployment.prepare()
    release = Deployment(deployment.kubectl(), NAMESPACE)
    try:
        # Its minute of imports would be measured with the rest.
        release.install(deployment.image_values(references) | {"catalogue": {"enabled": False}})
        measured = start_up.measure(release, references["evaluator"])
        return [*measured, *overhead.measure(release, references["evaluator"]), *latency.measure(release)]
    finally:
        release.uninstall()


PARTS: Final[dict[str, Callable[[], list[rows.Row]]]] = {
    "release": measure_release,
    "scale": scale.measure,
    "front-end": front_end.measure,
    "resume": resume.measure,
    "samples": samples.measure,
    "page": page.measure,
    "comparison": comparison.measure,
    "demo": measure_repeated_demo,
    "tests": read_last_tests,
}


def main() -> int:
    """0 when every target holds."""
    options = argparse.ArgumentParser(prog="make bench", description=__doc__)
    options.add_argument("parts", metavar="PART", choices=[[], *PARTS], nargs="*", help=f"of {', '.join(PARTS)}; all")
    chosen = options.parse_args().parts or list(PARTS)
    if "front-end" in chosen:
        load.need_wrk()
    measured = [row for part in chosen for row in PARTS[part]()]
    return rows.report(measured, ROOT / "build" / "bench.json")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CommandFailed as failure:
        sys.exit(f"make bench: {failure}")
