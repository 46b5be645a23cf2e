"""The command line of `make test`: which tiers, with which arguments of pytest.

A tier that cannot run on this machine is named with what it needs, and the command then fails unless
LMMS_EVAL_TEST_ALLOW_MISSING=1. A skipped test counts as missing.
"""

import argparse
import fcntl
import os
import signal
import sys
import time
from collections.abc import Sequence

from .paths import BUILD
from .processes import Processes, kill_marked
from .report import TierOutcome, print_failures, print_summary, write_summary
from .schedule import Schedule
from .tiers import TIERS


def parse(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Give the names of the tiers to run and pytest's arguments, which come after `--`."""
    ours, pytest = list(arguments), []
    if "--" in ours:
        at = ours.index("--")
        ours, pytest = ours[:at], ours[at + 1 :]
    names = [tier.name for tier in TIERS]
    parser = argparse.ArgumentParser(prog="make test", description=__doc__.splitlines()[0])
    parser.add_argument("tiers", nargs="*", metavar="TIER", help=f"one of {', '.join(names)}; all, if none is named")
    wanted = parser.parse_args(ours).tiers or names
    if unknown := sorted(set(wanted) - set(names)):
        parser.error(f"no such tier: {', '.join(unknown)}; there are {', '.join(names)}")
    return wanted, pytest


def tell(line: str) -> None:
    """Print a line about what happens."""
    print(line, flush=True)


def tell_outcome(outcome: TierOutcome) -> None:
    """Print what came of a tier as soon as it is known, failures whole."""
    if outcome.missing:
        return tell(f"--- {outcome.name} cannot run here: {outcome.missing}")
    counts = f"{outcome.count('passed')} passed, {outcome.count('failed')} failed, {outcome.count('skipped')} skipped"
    tell(f"--- {outcome.name}: {counts} in {outcome.seconds:.0f} s")
    return print_failures(outcome)


def run(names: Sequence[str], arguments: Sequence[str]) -> int:
    """Run these tiers; 0 when each of them ran and every test passed."""
    if left := kill_marked():
        tell(f"Ended {len(left)} processes that a run of these tests has left behind.")
    tiers = [tier for tier in TIERS if tier.name in names]
    processes = Processes()
    began = time.monotonic()
    try:
        schedule = Schedule(tiers, processes=processes, arguments=arguments, cores=os.cpu_count() or 1)
        outcomes = schedule.run(tell, tell_outcome)
    except KeyboardInterrupt:
        processes.end()
        return 130
    write_summary(outcomes, BUILD / "summary.json")
    print_summary(outcomes, time.monotonic() - began)
    allow_missing = os.environ.get("LMMS_EVAL_TEST_ALLOW_MISSING") == "1"
    good = all(outcome.is_good(allow_missing=allow_missing, selected=bool(arguments)) for outcome in outcomes)
    if good and not any(outcome.count("passed") for outcome in outcomes):
        tell(f"No test ran: pytest's arguments {' '.join(arguments)!r} select none in {', '.join(names)}.")
        return 1
    return 0 if good else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one `make test` at a time in this checkout; the exit status."""
    names, selection = parse(sys.argv[1:] if arguments is None else arguments)
    # A shell's background job ignores interrupts, and hands that down; the tests send some.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    BUILD.mkdir(parents=True, exist_ok=True)
    with (BUILD / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            print("The tests of this checkout run already: wait for them, or end that `make test`.", file=sys.stderr)
            return 2
        return run(names, selection)
