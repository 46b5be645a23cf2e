"""`helm test`: one real evaluation through the front end, from POST /evaluate to its scores.

Runs in the front end's image with the standard library alone; environment: URL, TOKENS (a
directory, empty where none is asked for), CERTIFICATE (the front end's own, for https), REQUEST
(JSON), TIMEOUT_SECONDS.
"""

import json
import os
import ssl
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

POLL_SECONDS = 2.0
DONE = ("completed", "failed", "cancelled")


def call(method: str, path: str, body: Any = None) -> dict[str, Any]:
    """Send one request to the front end; return its answer."""
    request = urllib.request.Request(os.environ["URL"] + path, method=method)
    for token in Path(os.environ["TOKENS"]).glob("[!.]*"):
        request.add_header("Authorization", f"Bearer {token.read_text().strip()}")
    if body is not None:
        request.add_header("Content-Type", "application/json")
        request.data = json.dumps(body).encode()
    with urllib.request.urlopen(request, timeout=30, context=make_tls_context()) as response:
        answer: dict[str, Any] = json.load(response)
        return answer


def make_tls_context() -> ssl.SSLContext | None:
    """Return a context that trusts the front end's own certificate alone, which may be made out to
    another name of its.
    """
    if not os.environ.get("CERTIFICATE"):
        return None
    context = ssl.create_default_context(cafile=os.environ["CERTIFICATE"])
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    context.check_hostname = False
    return context


def wait_until_finished(job: str, deadline: float) -> dict[str, Any]:
    """Return the job once it has ended, or as it is at the deadline; print every change."""
    shown = ""
    while True:
        state = call("GET", f"/jobs/{job}")
        line = (
            f"{state['status']}: {state.get('reason') or ''} {(state.get('progress') or {}).get('text') or ''}".rstrip(
                " :"
            )
        )
        if line != shown:
            print(line, flush=True)
            shown = line
        if state["status"] in DONE or time.monotonic() > deadline:
            return state
        time.sleep(POLL_SECONDS)


def main() -> int:
    """Evaluate and print the scores, or what went wrong; return the exit status."""
    deadline = time.monotonic() + float(os.environ["TIMEOUT_SECONDS"])
    try:
        job = call("POST", "/evaluate", json.loads(os.environ["REQUEST"]))["job_id"]
        print(f"evaluation {job}", flush=True)
        state = wait_until_finished(job, deadline)
    except urllib.error.HTTPError as error:
        print(f"the front end answered {error.code}: {error.read().decode(errors='replace')}")
        return 1
    if state["status"] != "completed" or not state.get("scores"):
        print(
            f"no scores: {state['status']}: {state.get('error') or state.get('message') or state.get('reason') or ''}"
        )
        return 1
    print(json.dumps(state["scores"], indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
