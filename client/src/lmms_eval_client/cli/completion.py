"""Completions that a shell offers for the arguments of `lmmeval`: jobs, tasks and models of the front end at
LMMS_EVAL_URL.

Without that there are none: a tunnel for each press of the tab key would take too long.
"""

import itertools
import os
from collections.abc import Callable, Iterable
from typing import Final

from lmms_eval_client.address import ENV_URL
from lmms_eval_client.client import Client
from lmms_eval_client.errors import LmmsEvalError
from lmms_eval_client.retries import Retries

SECONDS: Final = 2.0
MAX_OFFERED: Final = 200


def complete_jobs(incomplete: str) -> list[str]:
    """Return ids of the newest jobs."""
    return _ask_front_end(
        lambda client: (job.job_id for job in itertools.islice(client.jobs(), MAX_OFFERED)), incomplete
    )


def complete_models(incomplete: str) -> list[str]:
    """Return model adapters."""
    return _ask_front_end(lambda client: client.list_models(), incomplete)


def complete_tasks(incomplete: str) -> list[str]:
    """Return tasks, groups and tags, after the last comma."""
    before, comma, last = incomplete.rpartition(",")
    return [before + comma + name for name in _ask_front_end(lambda client: client.list_tasks(last), last)]


def _ask_front_end(ask: Callable[[Client], Iterable[str]], incomplete: str) -> list[str]:
    if not os.environ.get(ENV_URL):
        return []
    try:
        with Client(timeout=SECONDS, retries=Retries(attempts=1)) as client:
            return [name for name in ask(client) if name.startswith(incomplete)][:MAX_OFFERED]
    except (LmmsEvalError, ValueError):
        return []
