"""Namespaces of tests: marked, so that what a killed run has left is known from what is somebody's."""

import contextlib
import json
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
from deployment import Kubectl
from lmms_eval_test.leftovers import LABEL

PATH = "api/v1/namespaces"


def manifest(name: str = "", **labels: str) -> dict[str, Any]:
    """A namespace, under a name of its own unless one is given."""
    metadata = {"name": name or f"test-{secrets.token_hex(4)}", "labels": {LABEL: "", **labels}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def create(kubectl: Kubectl, name: str = "", **labels: str) -> str:
    """Makes a namespace; its name."""
    made = manifest(name, **labels)
    kubectl("create", "-f", "-", stdin=json.dumps(made))
    return str(made["metadata"]["name"])


@contextlib.contextmanager
def one(api: httpx.Client) -> Iterator[str]:
    """A namespace for as long as the block lasts; its name."""
    name = api.post(PATH, json=manifest()).raise_for_status().json()["metadata"]["name"]
    yield str(name)
    api.delete(f"{PATH}/{name}")
