"""Runs all tests, tier by tier, and says at the end what ran: `make test`.

A tier that cannot run on this machine is named with what it needs, and the command then fails unless
LMMS_EVAL_TEST_ALLOW_MISSING=1. A skipped test counts as missing. Arguments name the tiers to run; without any, all do.
"""

import os
import signal
import sys
import time

from report import Outcome, print_summary, write_summary
from tiers import BUILD, TIERS, Missing, Tier


def run(tier: Tier) -> Outcome:
    """One tier: prepared, run, counted."""
    print(f"\n=== {tier.name}: {tier.what}", flush=True)
    started = time.monotonic()
    try:
        counts = tier.run()
    except Missing as missing:
        print(f"cannot run here: {missing}", flush=True)
        return Outcome(tier.name, missing=str(missing))
    return Outcome(tier.name, **counts._asdict(), seconds=time.monotonic() - started)


def main() -> int:
    """0 when every tier ran and every test passed."""
    wanted = sys.argv[1:] or [tier.name for tier in TIERS]
    unknown = set(wanted) - {tier.name for tier in TIERS}
    if unknown:
        print(f"no such tier: {', '.join(sorted(unknown))}; there are {', '.join(tier.name for tier in TIERS)}", file=sys.stderr)
        return 2
    # A shell's background job ignores interrupts, and hands that down; the tests send some.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    outcomes = [run(tier) for tier in TIERS if tier.name in wanted]
    write_summary(outcomes, BUILD / "summary.json")
    print_summary(outcomes)
    allow_missing = os.environ.get("LMMS_EVAL_TEST_ALLOW_MISSING") == "1"
    return 0 if all(outcome.good(allow_missing=allow_missing) for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
