"""Where the rest of a job is: absolute URLs, as its caller sees this front end. Pure."""

import re
from typing import Any, Final

from starlette.requests import HTTPConnection

from lmms_eval_api.artifacts.stored_files import Stored
from lmms_eval_core.kube.client import Object
from lmms_eval_core.wire import Links

# In which argument lmms-eval looks for a model's name, and in which order; it names the folder of the results after it.
NAMING: Final = ("peft=", "delta=", "pretrained=", "model=", "model_version=", "model_name=", "model_id=", "path=", "engine=")
_NOT_IN_NAMES: Final = re.compile(r'["<>:/|\\?*\[\]]+')


def base_url(connection: HTTPConnection) -> str:
    """Scheme, host and path prefix of the request, without a slash at the end.

    A proxy that ends TLS says so in X-Forwarded-Proto. Whoever lies in it or in Host deceives himself alone.
    """
    url = connection.base_url
    if connection.headers.get("x-forwarded-proto") == "https":
        url = url.replace(scheme="https")
    return str(url).rstrip("/")


def links(base: str, name: str, stored: Stored | None) -> Links:
    """All there is of this job; results and samples when there are any."""
    job = f"{base}/jobs/{name}"
    tasks = stored.tasks if stored is not None else ()
    # Names of tasks are names of files here, in which nothing has to be quoted.
    return Links(
        self=job,
        events=f"{job}/events",
        logs=f"{job}/logs",
        results=f"{job}/results" if stored is not None and stored.has_results else None,
        samples={task: f"{job}/samples/{task}" for task in tasks},
        files=f"{job}/files" if stored is not None and stored.has_task_files else None,
    )


def result(links: Links, spec: Object) -> dict[str, Any]:
    """The `result` of lmms-eval's own server: what lies in the folder of the model, as URLs instead of paths."""
    return {model_folder(spec): {"results": links.results, "samples": list(links.samples.values())}}


def model_folder(spec: Object) -> str:
    """The folder into which lmms-eval writes the results of this model; the adapter, where the arguments name no model."""
    arguments = ",".join(f"{key}={value}" for key, value in spec.get("modelArgs", {}).items())
    named = next((arguments.split(word)[1].split(",")[0] for word in NAMING if word in arguments), "")
    return _NOT_IN_NAMES.sub("__", "/".join(named.split("/")[-2:])) or str(spec["model"])
