"""`make chaos`: the chart on the local node, with everything killed again and again; a table, and 0 if every promise was kept."""

import argparse
import random
import sys
import time

import deployment
from deployment import CommandFailed
from lmms_eval_cluster.console import ClusterError

from chaos import campaign, summary
from chaos.campaign import Campaign


def main() -> int:
    """0 when nothing was lost, nothing overlapped and no state was wrong."""
    options = parser().parse_args()
    seed = int(options.seed) if options.seed else random.randrange(10**6)
    print(f"seed {seed}, {options.minutes} minutes; the same again: make chaos SEED={seed} MINUTES={options.minutes}", flush=True)
    images = campaign.prepare()
    started = time.monotonic()
    outcome = campaign.run(Campaign(seed, options.minutes * 60), deployment.kubectl(), images)
    summary.show(outcome)
    print(f"seed {seed}, {(time.monotonic() - started) / 60:.0f} minutes in all; every story is in {campaign.STORIES}")
    return 0 if outcome.good else 1


def parser() -> argparse.ArgumentParser:
    """The command line."""
    top = argparse.ArgumentParser(prog="chaos", description=__doc__)
    top.add_argument("--seed", default="", help="a number; the same one gives the same evaluations, wishes and blows")
    top.add_argument("--minutes", type=float, default=30, help="how long the chaos lasts; quiet follows")
    return top


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (CommandFailed, ClusterError) as failure:
        sys.exit(f"make chaos: {failure}")
