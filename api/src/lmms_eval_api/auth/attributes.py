"""What a request asks for, read from its method, path and headers; for every middleware. Pure.

`ResourceAttributes` are what a Role has to allow: a verb of Kubernetes on LMMEvaluations.
"""

import re
from typing import Final, Literal, NamedTuple
from urllib.parse import parse_qsl

from starlette.types import Scope

from lmms_eval_core.names import MAX_NAME
from lmms_eval_core.schema import DNS_LABEL

Verb = Literal["create", "get", "list", "patch"]

JOBS: Final = "/jobs/"
JOB_NAME: Final = re.compile(DNS_LABEL)
READ_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS"})
# Parameters of a query that name further evaluations, and how many of them are looked at one by one.
FURTHER_JOBS: Final = frozenset({"baseline", "candidate"})
MAX_FURTHER: Final = 4
# The web page. Below it are its files, and the pages and routes of signing in.
PAGE: Final = "/ui"
OWN_PATH: Final = "/me"
# Responses that last as long as their reader wants.
STREAMS: Final = ("/events", "/logs")
PAGE_EVENTS: Final = "/events"


class ResourceAttributes(NamedTuple):
    """A verb on evaluations, and the name of the evaluation; an empty name means all evaluations."""

    verb: Verb
    name: str = ""


def derive_attributes(method: str, path: str) -> ResourceAttributes:
    """Return what `method` on `path`, a path below the root path, asks for: `get` for one job, `list` for other reads.

    Methods that no route has count as changes, so that an unusual method grants nothing.
    """
    name = _read_job_name(path)
    if method in READ_METHODS:
        return ResourceAttributes("get", name) if name else ResourceAttributes("list")
    return ResourceAttributes("create") if method == "POST" else ResourceAttributes("patch", name)


def list_attributes(method: str, path: str, query: bytes) -> list[ResourceAttributes]:
    """Return all that a request asks for: a read below a job may name further ones in its query, to compare with.

    Any path is looked at, so that none that a route accepts is missed.
    """
    first = derive_attributes(method, path)
    if first.verb != "get" or not query:
        return [first]
    # Read as the routes read it.
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    names = dict.fromkeys(value for key, value in pairs if key in FURTHER_JOBS)
    if len(names) > MAX_FURTHER or not all(map(is_job_name, names)):
        return [ResourceAttributes("get")]
    return [first, *(ResourceAttributes("get", name) for name in names)]


def needs_identity_alone(method: str, path: str) -> bool:
    """Whether whoever is known may do this: read the web page, which says nothing of evaluations, and `/me`."""
    return method in READ_METHODS and (path == OWN_PATH or is_page(path))


def is_page(path: str) -> bool:
    """Whether this path, below the root path, belongs to the web page."""
    return path == PAGE or path.startswith(f"{PAGE}/")


def strip_root_path(path: str, root_path: str) -> str:
    """Return `path` as the routes see it, whether a proxy removed the prefix or not."""
    return path[len(root_path) :] if root_path and path.startswith(f"{root_path}/") else path


def is_stream(method: str, path: str) -> bool:
    """Whether the response may last: events, and logs."""
    return method == "GET" and (path == PAGE_EVENTS or (path.startswith(JOBS) and path.endswith(STREAMS)))


def list_header_values(scope: Scope, name: bytes) -> list[bytes]:
    """Return the values of all headers of this lower-case name, in their order: a caller may send several."""
    return [value for key, value in scope["headers"] if key == name]


def _read_job_name(path: str) -> str:
    if not path.startswith(JOBS):
        return ""
    name = path[len(JOBS) :].partition("/")[0]
    return name if is_job_name(name) else ""


def is_job_name(text: str) -> bool:
    """Whether an evaluation may be called so."""
    return len(text) <= MAX_NAME and JOB_NAME.fullmatch(text) is not None
