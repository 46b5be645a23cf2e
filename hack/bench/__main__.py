"""`make bench`: installs this checkout into a namespace of its own, measures, prints a table, writes build/bench.json."""

import json
import subprocess
import sys
import time

import deployment
from deployment import ROOT, CommandFailed, Deployment

from bench import latency, overhead, rows, scale, start_up
from bench.front_end import __main__ as front_end
from bench.front_end import load

NAMESPACE = "lmms-eval-bench"


def repeated_demo() -> list[rows.Row]:
    """`make demo` where everything is there already."""
    subprocess.run(["make", "demo"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    began = time.monotonic()
    subprocess.run(["make", "demo"], cwd=ROOT, stdout=subprocess.DEVNULL, check=True)
    return [rows.Row("make demo, again", time.monotonic() - began, "s", 120.0)]


def last_tests() -> list[rows.Row]:
    """The tiers of the last `make test` in this checkout, if there was one: what its time went into."""
    path = ROOT / "build" / "test" / "summary.json"
    outcomes = json.loads(path.read_text()) if path.exists() else []
    return [rows.Row(f"make test, last run: {outcome['name']}", outcome["seconds"], "s") for outcome in outcomes]


def main() -> int:
    """0 when every target holds."""
    load.need_wrk()
    references = deployment.prepare()
    release = Deployment(deployment.kubectl(), NAMESPACE)
    try:
        # Its minute of imports would be measured with the rest.
        release.install(deployment.image_values(references) | {"catalogue": {"enabled": False}})
        measured = [*start_up.measure(release, references["evaluator"])]
        measured += [*overhead.measure(release, references["evaluator"]), *latency.measure(release)]
    finally:
        release.uninstall()
    measured += [*scale.measure(), *front_end.measure(), *repeated_demo(), *last_tests()]
    return rows.report(measured, ROOT / "build" / "bench.json")


if __name__ == "__main__":
    try:
        sys.exit(main())
    except CommandFailed as failure:
        sys.exit(f"make bench: {failure}")
