"""Every variable is read, and a wrong one is named."""

import pytest

from lmms_eval_operator.settings import InvalidSettings, Settings, StoreReference

NEEDED = {"LMMS_EVAL_NAMESPACE": "team", "LMMS_EVAL_EVALUATOR_IMAGE": "e:1", "LMMS_EVAL_REPORTER_IMAGE": "r:1"}


def read(**variables: str) -> Settings:
    return Settings.from_environment(NEEDED | {f"LMMS_EVAL_{name}": value for name, value in variables.items()})


def test_what_is_not_set_has_a_default() -> None:
    assert read() == Settings(namespace="team", evaluator_image="e:1", reporter_image="r:1")
    assert read(CONCURRENCY="", DEFAULT_ENV="", DEFAULT_RESOURCES="null") == read()


def test_everything_can_be_set() -> None:
    settings = read(
        CONCURRENCY="2",
        IMAGE_PULL_POLICY="Always",
        IMAGE_PULL_SECRETS='["a", "b"]',
        GPU_RESOURCE="amd.com/gpu",
        REPORTER_SERVICE_ACCOUNT="rep",
        STORE_URL="s3://b/p",
        STORE_ENDPOINT="http://s3",
        STORE_REGION="eu",
        STORE_SECRET="sec",
        STORE_CA_SECRET="ca",
        DEFAULT_REQUESTS='{"memory": "2Gi"}',
        DEFAULT_LIMITS='{"cpu": 8}',
        VOLUME_SIZES='{"run": "1Gi", "tmp": "2Gi"}',
        REPORTER_RESOURCES='{"limits": {"cpu": "1"}}',
        POD_SECURITY="{}",
        INCLUDE_PATH="/data/tasks",
        DEFAULT_VOLUMES='[{"claimName": "a", "mountPath": "/data"}]',
        CACHE_CLAIM="cache",
        DEFAULT_RESOURCES='{"cpu": 2, "memory": "8Gi", "sharedMemory": "1Gi"}',
        DEFAULT_ENV='[{"name": "A", "value": "b"}]',
        DEFAULT_NODE_SELECTOR='{"a": "b"}',
        DEFAULT_TOLERATIONS='[{"key": "gpu", "operator": "Exists"}]',
        MEDIA='{"max": "original", "fileBytes": 1, "runBytes": 2}',
        MEDIA_FRESH_SECONDS="3",
        POD_LABELS='{"team": "a"}',
        POD_ANNOTATIONS='{"sidecar.istio.io/inject": "false"}',
        PUBLISH_TIMEOUT_SECONDS="60",
        JOB_TTL_SECONDS="0",
        MAX_FINISHED="0",
        PROBE_PORT="1",
        LOG_LEVEL="debug",
    )
    assert (settings.concurrency, settings.image_pull_secrets, settings.gpu_resource) == (2, ("a", "b"), "amd.com/gpu")
    assert settings.store == StoreReference(
        url="s3://b/p", endpoint="http://s3", region="eu", secret="sec", ca_secret="ca"
    )
    assert (settings.default_requests.memory, settings.default_limits.cpu) == ("2Gi", 8)
    assert (settings.volume_sizes, settings.reporter_resources) == (
        {"run": "1Gi", "tmp": "2Gi"},
        {"limits": {"cpu": "1"}},
    )
    assert (settings.pod_security, settings.include_path) == ({}, "/data/tasks")
    assert [(volume.claim_name, volume.mount_path, volume.read_only) for volume in settings.default_volumes] == [
        ("a", "/data", True)
    ]
    assert (settings.default_resources.cpu, settings.default_resources.shared_memory) == (2, "1Gi")
    assert (settings.default_env, settings.default_node_selector) == (({"name": "A", "value": "b"},), {"a": "b"})
    assert (settings.pod_labels, settings.pod_annotations) == ({"team": "a"}, {"sidecar.istio.io/inject": "false"})
    assert settings.default_tolerations[0].key == "gpu"
    assert (settings.publish_timeout_seconds, settings.job_ttl_seconds, settings.probe_port) == (60, 0, 1)
    assert (settings.media.max, settings.media.file_bytes, settings.media.run_bytes) == ("original", 1, 2)
    assert (settings.media_fresh_seconds, read().media.max) == (3, "display")
    assert (read().max_finished, settings.max_finished) == (100, 0)
    assert (settings.reporter_service_account, settings.cache_claim) == ("rep", "cache")
    assert (settings.log_level, settings.image_pull_policy) == ("DEBUG", "Always")


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("CONCURRENCY", "0"),
        ("CONCURRENCY", "two"),
        ("PROBE_PORT", "0"),
        ("MEDIA", '{"max": "all"}'),
        ("MEDIA", '{"most": "none"}'),
        ("DEFAULT_ENV", "{"),
        ("DEFAULT_ENV", '{"a": 1}'),
        ("DEFAULT_TOLERATIONS", "[1]"),
        ("IMAGE_PULL_SECRETS", '"a"'),
        ("INCLUDE_PATH", "/cache/tasks"),
        ("POD_SECURITY", '{"fsGroup": "many"}'),
    ],
)
def test_a_wrong_variable_is_named(variable: str, value: str) -> None:
    with pytest.raises(InvalidSettings, match=f"LMMS_EVAL_{variable}"):
        read(**{variable: value})


@pytest.mark.parametrize("variable", NEEDED)
def test_a_missing_variable_is_named(variable: str) -> None:
    with pytest.raises(InvalidSettings, match=f"{variable} is not set"):
        Settings.from_environment({name: value for name, value in NEEDED.items() if name != variable})
