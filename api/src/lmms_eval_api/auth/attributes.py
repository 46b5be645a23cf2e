"""What a request asks for, in the verbs of Kubernetes on LMMEvaluations: what a Role has to allow for it. Pure."""

import re
from typing import Final, Literal, NamedTuple

from lmms_eval_core.names import MAX_NAME
from lmms_eval_core.schema import DNS_LABEL

Verb = Literal["create", "get", "list", "patch"]

JOBS: Final = "/jobs/"
IS_LABEL: Final = re.compile(DNS_LABEL)
READS: Final = frozenset({"GET", "HEAD", "OPTIONS"})


class Wish(NamedTuple):
    """A verb on evaluations, and the name of the one that it is about; empty for all of them."""

    verb: Verb
    name: str = ""


def wish(method: str, path: str) -> Wish:
    """What `method` on `path`, a path below the root path, asks for: a job is read by `get`, everything else by `list`.

    Methods that no route has count as changes, so that nobody gets further by an unusual one.
    """
    name = _job_name(path)
    if method in READS:
        return Wish("get", name) if name else Wish("list")
    return Wish("create") if method == "POST" else Wish("patch", name)


def below(path: str, root_path: str) -> str:
    """`path` as the routes see it, whether a proxy took the prefix away or not."""
    return path[len(root_path) :] if root_path and path.startswith(f"{root_path}/") else path


def _job_name(path: str) -> str:
    if not path.startswith(JOBS):
        return ""
    name = path[len(JOBS) :].partition("/")[0]
    return name if len(name) <= MAX_NAME and IS_LABEL.fullmatch(name) else ""
