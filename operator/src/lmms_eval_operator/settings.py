"""The settings of the operator, from the environment; the chart renders it. Read once, by `main`."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Final

from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.alias_generators import to_camel

from lmms_eval_core.kube.client import Object
from lmms_eval_core.media import MediaPolicy
from lmms_eval_core.paths import find_include_path_problem
from lmms_eval_core.spec import Resources, Toleration, Volume

PREFIX = "LMMS_EVAL_"
REPORTER_RESOURCES: Final[Mapping[str, Any]] = {
    "requests": {"cpu": "50m", "memory": "128Mi"},
    "limits": {"memory": "512Mi"},
}
POD_SECURITY: Final[Mapping[str, int]] = {"runAsUser": 1000, "runAsGroup": 1000, "fsGroup": 1000}


class InvalidSettings(Exception):
    """A variable is missing or cannot be read; the message names it."""


@dataclass(frozen=True, kw_only=True)
class StoreReference:
    """Where reporters upload to; they get these words, and the Secret as environment."""

    url: str = ""
    """`s3://bucket/prefix`, as the reporter's own setting of the same name."""

    endpoint: str = ""
    """Address of an S3 service other than AWS."""

    region: str = ""
    """Region of the bucket."""

    secret: str = ""
    """Secret whose keys become the reporter's environment (AWS_ACCESS_KEY_ID, ...); empty if the platform gives
    credentials.
    """

    ca_secret: str = ""
    """Secret whose key ca.crt is the authority of the endpoint's certificate; empty if the system's authorities do."""


class MediaSettings(BaseModel):
    """The most that an evaluation keeps of its media, as the chart's `evaluator.media`."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid", frozen=True)

    max: MediaPolicy = MediaPolicy.DISPLAY
    file_bytes: Annotated[int, Field(ge=1)] = 64 * 1024 * 1024
    run_bytes: Annotated[int, Field(ge=0)] = 512 * 1024 * 1024


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The operator's settings."""

    namespace: str
    """The one namespace that is served: evaluations, Jobs, Leases."""

    evaluator_image: str
    """Image of an evaluation that names none."""

    reporter_image: str
    """Image of the sidecar: ours, never the user's."""

    concurrency: int = 1
    """Slots: evaluations that may hold GPUs at once. One is lmms-eval's own way."""

    image_pull_policy: str = "IfNotPresent"
    """For both containers."""

    image_pull_secrets: tuple[str, ...] = ()
    """Names of Secrets for private registries."""

    gpu_resource: str = "nvidia.com/gpu"
    """The extended resource that GPUs are asked for as."""

    reporter_service_account: str = "lmms-eval-reporter"
    """Account of evaluator pods. Only the reporter container gets a token of it."""

    store: StoreReference = field(default_factory=StoreReference)

    cache_claim: str = ""
    """PersistentVolumeClaim for models and data sets (HF_HOME); empty: a new, empty directory for every run."""

    default_resources: Resources = field(default_factory=Resources)
    """What `spec.resources` does not say: request, and limit but for the CPU."""

    default_requests: Resources = field(default_factory=Resources)
    """Requests where neither says anything."""

    default_limits: Resources = field(default_factory=Resources)
    """Limits where neither says anything, and of the CPU; raised where more is asked for."""

    volume_sizes: Mapping[str, str | int] = field(default_factory=dict)
    """Sizes of the volumes `run` and `tmp` of a pod, where the evaluation asks for no disk."""

    reporter_resources: Mapping[str, Any] = field(default_factory=lambda: REPORTER_RESOURCES)
    """Requests and limits of the sidecar."""

    pod_security: Mapping[str, int] = field(default_factory=lambda: POD_SECURITY)
    """Who evaluation pods run as; empty where the cluster says (OpenShift)."""

    include_path: str = ""
    """Folder of custom tasks for evaluations that name none."""

    default_volumes: tuple[Volume, ...] = ()
    """Mounted into every evaluation; one of the evaluation's own at the same path wins."""

    default_env: tuple[Object, ...] = ()
    """EnvVars of every evaluator: proxy, certificate authority, hub endpoint."""

    default_node_selector: Mapping[str, str] = field(default_factory=dict)
    """Added to `spec.nodeSelector`, which wins."""

    default_tolerations: tuple[Toleration, ...] = ()
    """Added to `spec.tolerations`."""

    pod_labels: Mapping[str, str] = field(default_factory=dict)
    """Added to the labels of evaluation pods; ours win."""

    pod_annotations: Mapping[str, str] = field(default_factory=dict)
    """Added to the annotations of evaluation pods, as a service mesh reads them."""

    retry_backoff_seconds: int = 10
    """Wait before the second attempt; twice as long before each further one, five minutes at most."""

    publish_timeout_seconds: int = 3600
    """How long a finished run waits for a store or an API server that is away."""

    media: MediaSettings = field(default_factory=MediaSettings)
    """What evaluations may keep of images, videos and sounds."""

    media_fresh_seconds: int = 302_400
    """Half of the time after which the front end deletes media that no run shows."""

    job_ttl_seconds: int = 3600
    """How long the Job and pod of a finished evaluation stay, for `kubectl logs`."""

    max_finished: int = 100
    """Finished evaluations of the front end that stay, as `max_completed_jobs` of lmms-eval's own
    server; 0 keeps all.
    """

    probe_port: int = 8080
    """GET /livez and /readyz."""

    log_level: str = "INFO"
    """DEBUG, INFO, WARNING or ERROR."""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> "Settings":
        """From `LMMS_EVAL_*`; an empty variable counts as unset. Raises InvalidSettings."""
        reader = _EnvironmentReader(environment)
        return cls(
            namespace=reader.read_text("NAMESPACE"),
            evaluator_image=reader.read_text("EVALUATOR_IMAGE"),
            reporter_image=reader.read_text("REPORTER_IMAGE"),
            concurrency=reader.read_number("CONCURRENCY", cls.concurrency, minimum=1),
            image_pull_policy=reader.read_text("IMAGE_PULL_POLICY", cls.image_pull_policy),
            image_pull_secrets=reader.read_json("IMAGE_PULL_SECRETS", tuple[str, ...], ()),
            gpu_resource=reader.read_text("GPU_RESOURCE", cls.gpu_resource),
            reporter_service_account=reader.read_text("REPORTER_SERVICE_ACCOUNT", cls.reporter_service_account),
            store=StoreReference(
                url=reader.read_text("STORE_URL", ""),
                endpoint=reader.read_text("STORE_ENDPOINT", ""),
                region=reader.read_text("STORE_REGION", ""),
                secret=reader.read_text("STORE_SECRET", ""),
                ca_secret=reader.read_text("STORE_CA_SECRET", ""),
            ),
            cache_claim=reader.read_text("CACHE_CLAIM", ""),
            default_resources=reader.read_json("DEFAULT_RESOURCES", Resources, Resources()),
            default_requests=reader.read_json("DEFAULT_REQUESTS", Resources, Resources()),
            default_limits=reader.read_json("DEFAULT_LIMITS", Resources, Resources()),
            volume_sizes=reader.read_json("VOLUME_SIZES", dict[str, str | int], {}),
            reporter_resources=reader.read_json("REPORTER_RESOURCES", dict[str, Any], REPORTER_RESOURCES),
            pod_security=reader.read_json("POD_SECURITY", dict[str, int], POD_SECURITY),
            include_path=reader.read_task_folder("INCLUDE_PATH"),
            default_volumes=reader.read_json("DEFAULT_VOLUMES", tuple[Volume, ...], ()),
            default_env=reader.read_json("DEFAULT_ENV", tuple[dict[str, Any], ...], ()),
            default_node_selector=reader.read_json("DEFAULT_NODE_SELECTOR", dict[str, str], {}),
            default_tolerations=reader.read_json("DEFAULT_TOLERATIONS", tuple[Toleration, ...], ()),
            pod_labels=reader.read_json("POD_LABELS", dict[str, str], {}),
            pod_annotations=reader.read_json("POD_ANNOTATIONS", dict[str, str], {}),
            retry_backoff_seconds=reader.read_number("RETRY_BACKOFF_SECONDS", cls.retry_backoff_seconds, minimum=0),
            publish_timeout_seconds=reader.read_number(
                "PUBLISH_TIMEOUT_SECONDS", cls.publish_timeout_seconds, minimum=0
            ),
            media=reader.read_json("MEDIA", MediaSettings, MediaSettings()),
            media_fresh_seconds=reader.read_number("MEDIA_FRESH_SECONDS", cls.media_fresh_seconds, minimum=0),
            job_ttl_seconds=reader.read_number("JOB_TTL_SECONDS", cls.job_ttl_seconds, minimum=0),
            max_finished=reader.read_number("MAX_FINISHED", cls.max_finished, minimum=0),
            probe_port=reader.read_number("PROBE_PORT", cls.probe_port, minimum=1),
            log_level=reader.read_text("LOG_LEVEL", cls.log_level).upper(),
        )


class _EnvironmentReader:
    """Reads variables, and names the one that is wrong."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment

    def read_text(self, name: str, default: str | None = None) -> str:
        value = self._environment.get(PREFIX + name, "") or default
        if value is None:
            raise InvalidSettings(f"{PREFIX}{name} is not set; the chart sets it")
        return value

    def read_number(self, name: str, default: int, *, minimum: int) -> int:
        value = self.read_text(name, str(default))
        if not value.isdecimal() or int(value) < minimum:
            raise InvalidSettings(f"{PREFIX}{name} must be a whole number of at least {minimum}, and is {value!r}")
        return int(value)

    def read_task_folder(self, name: str) -> str:
        path = self.read_text(name, "")
        if path and (problem := find_include_path_problem(path)):
            raise InvalidSettings(f"{PREFIX}{name} {problem}")
        return path

    def read_json(self, name: str, kind: Any, default: Any) -> Any:
        value = self._environment.get(PREFIX + name, "")
        if not value or value == "null":
            return default
        try:
            return TypeAdapter(kind).validate_python(json.loads(value))
        except (ValueError, ValidationError) as error:
            raise InvalidSettings(f"{PREFIX}{name} is not the JSON it should be: {error}") from error
