"""Namespaces of tests: marked, so that what a killed run has left is known from what is somebody's."""

import json
import secrets

from deployment import Kubectl
from lmms_eval_test.leftovers import LABEL


def create(kubectl: Kubectl, name: str = "", **labels: str) -> str:
    """Makes a namespace, under a name of its own unless one is given; its name."""
    name = name or f"test-{secrets.token_hex(4)}"
    metadata = {"name": name, "labels": {LABEL: "", **labels}}
    kubectl("create", "-f", "-", stdin=json.dumps({"apiVersion": "v1", "kind": "Namespace", "metadata": metadata}))
    return name
