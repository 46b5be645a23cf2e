"""What a pod may do: the evaluator nothing, the reporter its own evaluation's results and no more."""

import json

import pytest
from release_fixtures import Release, build_slow_environment, build_smoke_evaluation

pytestmark = pytest.mark.system

LOOK = """
import json, os, pathlib
found = [str(path) for path in pathlib.Path("/var/run").rglob("token*")] if os.path.isdir("/var/run") else []
secret = [name for name in os.environ if name.startswith("AWS_")]
try:
    pathlib.Path("/written").write_text("x")
    root = "writable"
except OSError:
    root = "read-only"
print(json.dumps({"tokens": found, "storage": secret, "root": root, "uid": os.getuid()}))
"""

PATCH = """
import json, os, pathlib, ssl, sys, urllib.error, urllib.request
name, patch = sys.argv[1:3]
host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ["KUBERNETES_SERVICE_PORT"]
namespace = json.loads(os.environ["LMMS_EVAL_RUN"])["namespace"]
url = f"https://{host}:{port}/apis/lmms-eval.io/v1alpha1/namespaces/{namespace}/lmmevaluations/{name}/status"
token = pathlib.Path(os.environ["LMMS_EVAL_REPORTER_TOKEN_FILE"]).read_text().strip()
headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json-patch+json"}
context = ssl.create_default_context(cafile=os.environ["LMMS_EVAL_REPORTER_CA_FILE"])
request = urllib.request.Request(url, patch.encode(), headers, method="PATCH")
try:
    print(urllib.request.urlopen(request, context=context).status)
except urllib.error.HTTPError as error:
    print(error.code, json.load(error)["message"])
"""


def patch(release: Release, pod: str, name: str, path: str, value: object) -> str:
    """What the API server answers to the reporter of `pod` that writes into `name`'s status."""
    operations = json.dumps([{"op": "add", "path": path, "value": value}])
    return release.deployment("exec", pod, "-c", "reporter", "--", "python", "-c", PATCH, name, operations).strip()


def test_the_pod_of_a_running_evaluation_is_confined(release: Release) -> None:
    other = release.apply(build_smoke_evaluation("isolation-other", hold=True))
    name = release.apply(build_smoke_evaluation("isolation", env=build_slow_environment(), limit=None))
    release.wait_until_evaluating(name)
    pod = release.find_running_pod(name)

    seen = json.loads(release.deployment("exec", pod, "-c", "evaluator", "--", "python", "-c", LOOK))
    assert seen == {"tokens": [], "storage": [], "root": "read-only", "uid": 1000}

    assert patch(release, pod, name, "/status/summary", "mine") == "200"
    for target, path, value in (
        (other, "/status/summary", "not mine"),
        (name, "/status/phase", "Completed"),
        (name, "/status/jobName", "another"),
        (name, "/status/conditions", []),
    ):
        answer = patch(release, pod, target, path, value)
        assert answer.split()[0] in ("403", "422"), (target, path, answer)
    for denied in ("lmmevaluations", "secrets", "pods", "jobs"):
        account = f"system:serviceaccount:{release.deployment.namespace}:{release.deployment.release}-reporter"
        asked = release.deployment.kubectl.run(
            "auth", "can-i", "list", denied, "-n", release.deployment.namespace, "--as", account
        )
        assert asked.stdout.strip() == "no", denied

    release.deployment("patch", "lmmevaluation", name, "--type=merge", "-p", '{"spec":{"cancel":true}}')
    assert release.finish(name)["phase"] == "Cancelled"
