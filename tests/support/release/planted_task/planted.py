"""A task and a model that let slip the secret of their environment wherever they can, beside a word that may be seen.

Run by lmms-eval in the evaluator image: PLANTED is the secret, BESIDE the word, PLANTED_RAISE makes the model raise.
"""

import base64
import json
import logging
import os
import sys
import urllib.parse
from collections.abc import Mapping, Sequence
from typing import Any

from lmms_eval.models.simple.dummy import Dummy

SECRET, BESIDE = os.environ["PLANTED"], os.environ["BESIDE"]
FORMS = [
    SECRET,
    json.dumps({"key": SECRET}),
    repr({"key": SECRET}),
    urllib.parse.quote(SECRET, safe=""),
    urllib.parse.urlencode({"key": SECRET}),
    base64.b64encode(f"user:{SECRET}".encode()).decode(),
    base64.urlsafe_b64encode(SECRET.encode()).decode(),
]
TEXT = f"{BESIDE} {' '.join(FORMS)}"

print(f"stdout {TEXT}", flush=True)
print(f"stderr {TEXT}", file=sys.stderr, flush=True)
logging.getLogger("planted").warning("logged %s", TEXT)


def doc_to_visual(doc: Mapping[str, Any]) -> list[Any]:
    return []


def doc_to_text(doc: Mapping[str, Any]) -> str:
    return f"question {TEXT}"


def doc_to_target(doc: Mapping[str, Any]) -> str:
    return f"target {TEXT}"


def process_results(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, Any]:
    return {"planted_accuracy": 0.5, "planted_text": f"scored {TEXT}"}


def aggregate(values: Sequence[str]) -> str:
    return f"aggregated {TEXT}"


def answer(model: Dummy, requests: Sequence[Any]) -> list[str]:
    if "PLANTED_RAISE" in os.environ:
        raise RuntimeError(f"raised {TEXT}")
    return [f"answered {TEXT}"] * len(requests)


Dummy.generate_until = answer
