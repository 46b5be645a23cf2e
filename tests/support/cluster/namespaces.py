"""Namespaces of tests, with a label by which the next run recognises what a killed run left behind."""

import contextlib
import json
import secrets
from collections.abc import Iterator
from typing import Any

import httpx
from deployment import Kubectl
from lmms_eval_test.leftovers import LABEL

PATH = "api/v1/namespaces"


def build_namespace(name: str = "", **labels: str) -> dict[str, Any]:
    """Build the manifest of a test namespace, with a random name unless one is given."""
    metadata = {"name": name or f"test-{secrets.token_hex(4)}", "labels": {LABEL: "", **labels}}
    return {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}


def create_namespace(kubectl: Kubectl, name: str = "", **labels: str) -> str:
    """Create a namespace; return its name."""
    made = build_namespace(name, **labels)
    kubectl("create", "-f", "-", stdin=json.dumps(made))
    return str(made["metadata"]["name"])


@contextlib.contextmanager
def open_namespace(api: httpx.Client) -> Iterator[str]:
    """Create a namespace for as long as the block lasts; yield its name."""
    name = api.post(PATH, json=build_namespace()).raise_for_status().json()["metadata"]["name"]
    yield str(name)
    api.delete(f"{PATH}/{name}")
