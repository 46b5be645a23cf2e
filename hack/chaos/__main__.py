"""`make chaos`: installs the chart on the local node, injects faults and prints a table of violations."""

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
    """Run one campaign; return 0 if there is no violation, otherwise 1."""
    options = build_parser().parse_args()
    seed = int(options.seed) if options.seed else random.randrange(10**6)
    repeat = f"make chaos SEED={seed} MINUTES={options.minutes}"
    print(f"seed {seed}, {options.minutes} minutes; to repeat: {repeat}", flush=True)
    images = campaign.prepare_images()
    started = time.monotonic()
    result = campaign.run_campaign(Campaign(seed, options.minutes * 60), deployment.kubectl(), images)
    summary.print_result(result)
    minutes = (time.monotonic() - started) / 60
    print(f"seed {seed}, {minutes:.0f} minutes in all; records of every evaluation: {campaign.RECORDS_FILE}")
    return 0 if result.has_passed else 1


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(prog="chaos", description=__doc__)
    parser.add_argument("--seed", default="", help="a number; equal seeds give equal evaluations, actions and faults")
    parser.add_argument("--minutes", type=float, default=30, help="how long faults are injected; recovery follows")
    return parser


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (CommandFailed, ClusterError) as failure:
        sys.exit(f"make chaos: {failure}")
