"""Who wrote reads what it wrote, whichever replica answers: a cookie says how new an answer has to be.

A write is answered with the version of its object. A replica that gets it back answers when its watch has come that far;
versions of one kind of object grow with every write to any of them.
"""

import re
from collections.abc import Mapping
from typing import Final

from starlette.requests import Request
from starlette.responses import Response

from lmms_eval_api.jobs.snapshot import JobSnapshot

COOKIE: Final = "lmms_eval_version"
# As long as a replica may serve what it knows without a watch.
COOKIE_SECONDS: Final = 60
# A watch is milliseconds behind; one that takes longer than this has lost its connection.
PATIENCE_SECONDS: Final = 2.0


def remember(request: Request, response: Response, job: JobSnapshot) -> None:
    """Gives the caller the version that it has written."""
    path = request.scope.get("root_path") or "/"
    response.set_cookie(COOKIE, str(job.version), max_age=COOKIE_SECONDS, path=path, httponly=True, samesite="strict")


def written(cookies: Mapping[str, str]) -> int:
    """The version that the caller has written; 0 if it says nothing that could be one."""
    text = cookies.get(COOKIE, "")
    return int(text) if re.fullmatch(r"[0-9]{1,19}", text) else 0
