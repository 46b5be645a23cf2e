"""`spec` of an LMMEvaluation: what to evaluate, in lmms-eval's own words, and the few pod knobs there are.

Everything is immutable but `priority`, `hold`, `cancel` (one way), `ttlSecondsAfterFinished` and `keep`.
"""

from typing import Annotated, Any

from pydantic import ConfigDict, Field, WithJsonSchema

from lmms_eval_core.media import MediaPolicy
from lmms_eval_core.paths import (
    DOT_SEGMENT,
    NO_CODE_FROM_RUNS,
    NO_DOT_SEGMENT,
    PRIVATE_CACHES,
    RESERVED_MOUNTS,
    WRITTEN_BY_RUNS,
)
from lmms_eval_core.quality_gate.policy import QualityGate
from lmms_eval_core.run import ResumePolicy
from lmms_eval_core.schema import (
    AbsolutePath,
    ObjectName,
    Quantity,
    ResourceModel,
    Scalar,
    absolute_path,
    by_key,
    cel,
    int_or_string,
    matches,
    text,
    validations,
)

MODEL_ARG_NAME = r"^[A-Za-z_][A-Za-z0-9_]{0,127}$"
MAX_MODEL_ARG = 4096
# No pod gets more, and no argument may ask for more.
MAX_GPUS = 64
# Arguments from which the operator counts GPUs and processes, so that admission bounds them: the size of one replica,
# then how many there are. Of several spellings the first counts.
TENSOR_PARALLEL = ("tensor_parallel_size", "tp_size")
DATA_PARALLEL = ("data_parallel_size", "dp_size")
# A number as text that is at most MAX_GPUS.
PARALLEL_SIZE = r"^0*([0-9]|[1-5][0-9]|6[0-4])$"
# A plain `..._token` or `..._key` is none: adapters have `image_token` and `video_key`.
_SECRET_WORDS = (
    r"(api|access|auth|private|secret)_?key|(api|access|auth|bearer|hf|hub|refresh|session)_?token"
    r"|secret|password|passwd|credentials?"
)
SECRET_NAME = rf"(?i)^token$|(^|_)({_SECRET_WORDS})$"
# The same among the `name=value,...` of genKwargs, read as lmms-eval reads them.
SECRET_IN_LIST = rf"(?i)(^|,)\s*(token|(\w*_)?({_SECRET_WORDS}))\s*="
# The login in an address, as in https://user:password@host.
URL_LOGIN = r"://[^/?#\s@]*@"
# An argument of the adapter with a field of its own, which asks for the administrator's permission.
REMOTE_CODE_ARG = "trust_remote_code"

SECRET_ENV = r"(?i)(KEY|TOKEN|SECRET|PASSWORD|PASSWD|CREDENTIALS?)$"
# What a switch may hold: HF_HUB_DISABLE_IMPLICIT_TOKEN=1 is no secret, whatever its name ends in.
SWITCH = r"(?i)^([01]|true|false|yes|no|on|off)?$"
# Names that steer the harness, the loader or our own runner; the pod sets them, a user must not.
RESERVED_ENV = (
    r"^(LD_.*|PYTHON.*|LMMS_EVAL_RUN.*|LMMS_EVAL_PLUGINS|KUBERNETES_.*|PATH|HOME|TMPDIR|SHELL|BASH_ENV|ENV|IFS"
    r"|RANK|LOCAL_RANK|WORLD_SIZE|LOCAL_WORLD_SIZE|MASTER_ADDR|MASTER_PORT|ACCELERATE_.*|TORCHELASTIC_.*"
    r"|SLURM_.*|PMI_.*|PMIX_.*|CUDA_VISIBLE_DEVICES|NVIDIA_VISIBLE_DEVICES|NVIDIA_DRIVER_CAPABILITIES"
    rf"|HF_HOME|HF_DATASETS_CACHE|HF_HUB_CACHE|HUGGINGFACE_HUB_CACHE|TRANSFORMERS_CACHE|{'|'.join(PRIVATE_CACHES)})$"
)

MODEL_ARGS_SCHEMA: dict[str, Any] = {
    "type": "object",
    "maxProperties": 64,
    # Nullable, so that a null reaches the admission policy and is refused there: it would be dropped without a word.
    "additionalProperties": {"x-kubernetes-preserve-unknown-fields": True, "nullable": True},
}


LABEL_KEY = r"^([a-z0-9.-]+/)?[A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?$"
LABEL_VALUE = r"^([A-Za-z0-9]([A-Za-z0-9_.-]*[A-Za-z0-9])?)?$"
LabelKey = Annotated[str, text(LABEL_KEY, "give a label key, for example nvidia.com/gpu", max_length=316)]
LabelValue = Annotated[
    str,
    text(
        LABEL_VALUE,
        "give a label value: letters, digits, dashes, dots and underscores",
        min_length=0,
        max_length=63,
    ),
]


class SecretKeyRef(ResourceModel):
    """One key of a Secret in the release's namespace."""

    name: ObjectName = Field(description="The Secret; the administrator allows names by prefix.")
    key: Annotated[
        str,
        text(
            r"^[-._a-zA-Z0-9]+$",
            "give a key of the Secret: letters, digits, dashes, dots and underscores",
            max_length=253,
        ),
    ]


class EnvVar(ResourceModel):
    """One environment variable of the evaluator container."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            cel("has(self.value) != has(self.secretKeyRef)", "give either value or secretKeyRef"),
            cel(
                f"!has(self.value) || !{matches(SECRET_ENV, 'self.name')} || {matches(SWITCH, 'self.value')}",
                "a secret is given by reference: use secretKeyRef instead of value",
            ),
            cel(
                f"!has(self.value) || !{matches(URL_LOGIN, 'self.value')}",
                "an address with a login is a secret, which is given by reference: use secretKeyRef instead of value",
            ),
            cel(
                f"!{matches(RESERVED_ENV, 'self.name')}",
                "this variable steers the harness, the loader or the launcher and is set by the pod; leave it out",
            ),
        )
    )

    name: Annotated[
        str,
        text(r"^[A-Za-z_][A-Za-z0-9_]*$", "give letters, digits and underscores, the first no digit", max_length=128),
    ]
    value: Annotated[str, Field(max_length=4096)] | None = None
    secret_key_ref: SecretKeyRef | None = None


class Volume(ResourceModel):
    """A PersistentVolumeClaim to mount: checkpoints and data sets from training."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            cel(f"!{matches(DOT_SEGMENT, 'self.mountPath')}", f"mountPath {NO_DOT_SEGMENT}"),
            cel(
                f"!{matches(RESERVED_MOUNTS, 'self.mountPath')}",
                "mountPath is inside a directory of the evaluator itself; use a path of your own, as /data or "
                "/mnt/NAME",
            ),
        )
    )

    claim_name: ObjectName
    mount_path: AbsolutePath
    read_only: bool = True


class Resources(ResourceModel):
    """Requests and limits of the evaluator container; what is unset comes from the release's settings."""

    cpu: Quantity | None = None
    memory: Quantity | None = None
    shared_memory: Quantity | None = Field(default=None, description="Size of /dev/shm.")
    ephemeral_storage: Quantity | None = None


class Toleration(ResourceModel):
    """As in a pod."""

    model_config = ConfigDict(
        json_schema_extra=validations(
            cel(
                "has(self.key) || has(self.operator) && self.operator == 'Exists'",
                "a toleration without key needs operator: Exists",
            ),
            cel(
                "!has(self.operator) || self.operator != 'Exists' || !has(self.value)",
                "a toleration with operator: Exists takes no value",
            ),
            cel(
                "!has(self.tolerationSeconds) || has(self.effect) && self.effect == 'NoExecute'",
                "tolerationSeconds is for effect: NoExecute alone",
            ),
        )
    )

    key: LabelKey | None = None
    operator: Annotated[str, WithJsonSchema({"type": "string", "enum": ["Exists", "Equal"]})] | None = None
    value: LabelValue | None = None
    effect: (
        Annotated[str, WithJsonSchema({"type": "string", "enum": ["NoSchedule", "PreferNoSchedule", "NoExecute"]})]
        | None
    ) = None
    toleration_seconds: int | None = None


TaskName = Annotated[
    str,
    text(
        r"^[A-Za-z0-9_][A-Za-z0-9_.*?:/+-]*$",
        "give one task, group or tag of lmms-eval an entry, without spaces or commas",
        max_length=256,
    ),
]
# Tasks are code.
IncludePath = Annotated[
    str,
    absolute_path(
        cel(f"!{matches(DOT_SEGMENT)}", f"includePath {NO_DOT_SEGMENT}"),
        cel(f"!{matches(WRITTEN_BY_RUNS)}", f"includePath {NO_CODE_FROM_RUNS}"),
    ),
]
# Rules of the whole spec: the API server repeats the value of a field whose own rule refuses it.
NO_SECRETS = (
    cel(
        f"!has(self.genKwargs) || !{matches(SECRET_IN_LIST, 'self.genKwargs')}",
        "a secret does not belong in genKwargs, which everybody could read; use env with secretKeyRef",
        field_path=".genKwargs",
    ),
    cel(
        f"!has(self.genKwargs) || !{matches(URL_LOGIN, 'self.genKwargs')}",
        "an address with a login does not belong in genKwargs, which everybody could read; use env with secretKeyRef",
        field_path=".genKwargs",
    ),
)
# A gate compares samples, which have to be scored and stored.
GATE_NEEDS_SAMPLES = cel(
    "!has(self.gate) || self.logSamples && !self.predictOnly",
    "a gate compares scored samples; leave logSamples true and predictOnly false",
    field_path=".gate",
)
# Of the whole object, which alone knows its name.
GATE_NEEDS_ANOTHER = cel(
    "!has(self.spec.gate) || !has(self.spec.gate.baseline) || self.spec.gate.baseline.evaluation != self.metadata.name",
    "an evaluation cannot be its own baseline; name another one",
    field_path=".spec.gate.baseline.evaluation",
)
_NO_LABEL_KEYS = f"self.filter(key, key.size() > 316 || !{matches(LABEL_KEY, 'key')})"
NODE_SELECTOR_KEYS = cel(
    f"{_NO_LABEL_KEYS}.size() == 0",
    "give label keys, for example nvidia.com/gpu.product",
    naming=f"{_NO_LABEL_KEYS}[0]",
)

MUTABLE = frozenset({"priority", "hold", "cancel", "ttlSecondsAfterFinished", "keep"})
# Their values are free scalars, which CEL in a schema cannot compare; the admission policy of the chart does.
NOT_COMPARED_IN_SCHEMA = frozenset({"modelArgs"})


class EvaluationSpec(ResourceModel):
    """What to evaluate. Field names are lmms-eval's own options in camelCase; an unset field passes no flag."""

    model: Annotated[
        str,
        text(
            r"^[A-Za-z0-9][A-Za-z0-9_.-]*$",
            "give the id of a model adapter, as qwen2_5_vl or vllm; a checkpoint belongs in modelArgs.pretrained",
            max_length=128,
        ),
    ] = Field(description="Model adapter id of lmms-eval: qwen2_5_vl, vllm, openai, ... (--model).")
    model_args: Annotated[dict[str, Scalar], WithJsonSchema(MODEL_ARGS_SCHEMA)] | None = Field(
        default=None, description="Arguments of the adapter, as scalars (--model_args). Secrets belong in env."
    )
    tasks: Annotated[list[TaskName], Field(min_length=1, max_length=256)] = Field(
        description="Names of tasks, groups or tags (--tasks)."
    )
    num_fewshot: Annotated[int, Field(ge=0, le=1000)] | None = Field(default=None, description="--num_fewshot")
    batch_size: (
        Annotated[
            int | str,
            int_or_string(
                r"^(auto(:[0-9]+)?|[1-9][0-9]*)$",
                "give a number of at least 1, auto, or auto:N",
                max_length=32,
                minimum=1,
            ),
        ]
        | None
    ) = Field(default=None, description="--batch_size")
    limit: Annotated[float, Field(gt=0)] | None = Field(
        default=None, description="Documents per task, or a fraction below 1 (--limit)."
    )
    offset: Annotated[int, Field(ge=0)] | None = Field(default=None, description="--offset")
    gen_kwargs: Annotated[str, Field(max_length=4096)] | None = Field(default=None, description="--gen_kwargs")
    seed: (
        Annotated[
            int | str,
            int_or_string(
                r"^([0-9]+|None)(,([0-9]+|None)){0,3}$",
                "give a seed, or up to four separated by commas, each a number or None",
                max_length=64,
            ),
        ]
        | None
    ) = Field(default=None, description="One seed, or up to four separated by commas; None sets none (--seed).")
    repeats: Annotated[int, Field(ge=1, le=1000)] | None = Field(default=None, description="--repeats")
    system_instruction: Annotated[str, Field(max_length=16384)] | None = Field(
        default=None, description="--system_instruction"
    )
    apply_chat_template: bool | None = Field(default=None, description="--apply_chat_template")
    fewshot_as_multiturn: bool | None = Field(default=None, description="--fewshot_as_multiturn")
    reasoning_tags: Annotated[str, Field(max_length=1024)] | None = Field(default=None, description="--reasoning_tags")
    max_tokens: Annotated[int, Field(ge=1)] | None = Field(default=None, description="--max_tokens")
    force_simple: bool | None = Field(default=None, description="--force_simple")
    process_with_media: bool | None = Field(default=None, description="--process_with_media")
    log_samples: bool = Field(default=True, description="Keep every sample's answer (--log_samples).")
    predict_only: bool = Field(default=False, description="Generate answers, score nothing (--predict_only).")
    include_path: IncludePath | None = Field(
        default=None, description="Folder of custom tasks, in a mounted volume or in the image (--include_path)."
    )

    gpus: Annotated[int, Field(ge=0, le=MAX_GPUS)] = Field(default=1, description="GPUs of the pod; 0 runs on the CPU.")
    processes: Annotated[int, Field(ge=1, le=MAX_GPUS)] | None = Field(
        default=None,
        description="Processes that share the GPUs, each with a copy of the model. Unset: one for each GPU, or "
        "one in all where"
        " modelArgs spread the model over them; status.attempts says how many.",
    )
    resources: Resources | None = None
    volumes: Annotated[list[Volume], Field(max_length=16), by_key("mountPath")] | None = None
    node_selector: (
        Annotated[dict[str, LabelValue], Field(max_length=16, json_schema_extra=validations(NODE_SELECTOR_KEYS))] | None
    ) = None
    tolerations: Annotated[list[Toleration], Field(max_length=16)] | None = None
    priority_class_name: ObjectName | None = None
    runtime_class_name: ObjectName | None = None
    env: Annotated[list[EnvVar], Field(max_length=64), by_key("name")] | None = Field(
        default=None, description="Judge keys, HF_TOKEN and the like; secrets by reference only."
    )
    image: (
        Annotated[
            str,
            text(
                r"^[a-zA-Z0-9][a-zA-Z0-9./:_@-]*$",
                "give a container image, for example registry.example.com/team/evaluator:v1",
                max_length=512,
            ),
        ]
        | None
    ) = Field(default=None, description="Evaluator image, from the administrator's list; the release's own when unset.")

    priority: Annotated[int, Field(ge=-100, le=100)] = Field(default=0, description="Higher starts first. Mutable.")
    hold: bool = Field(default=False, description="Keeps it queued. Mutable.")
    cancel: bool = Field(default=False, description="Cancels it, queued or running. Can only be set, not taken back.")
    ttl_seconds_after_finished: Annotated[int, Field(ge=0)] | None = Field(
        default=None,
        description="Deletes the object this long after it ended. Mutable. Not with GitOps: it would come back "
        "and run again.",
    )
    gate: QualityGate | None = Field(
        default=None,
        description="What the results must not lose against a baseline; it decides the condition GatePassed, and never "
        "fails the evaluation.",
    )
    keep: bool = Field(
        default=False,
        description="Stays until somebody deletes it, as a baseline has to: neither its time to live nor the limit of "
        "finished evaluations applies. Mutable.",
    )
    retries: Annotated[int, Field(ge=0, le=10)] = Field(
        default=2, description="Further attempts after a failure of the infrastructure."
    )
    resume: ResumePolicy = Field(
        default=ResumePolicy.SAME_HARDWARE,
        description="Whether an attempt goes on with the answers of earlier ones: never, on the same kind of hardware, "
        "or on any; the result then is of mixed hardware.",
    )
    media: MediaPolicy | None = Field(
        default=None,
        description="What is kept of images, videos and sounds, for people who look at answers: none, thumbs, display "
        "or original. Unset: display, or what the administrator permits of it. Nothing without logSamples.",
    )
    timeout_seconds: Annotated[int, Field(ge=1)] | None = Field(
        default=None, description="Over all attempts, from the first start."
    )
    stall_timeout_seconds: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="Fails it when status.progress did not move for this long, from the loading of the model on.",
    )
    trust_remote_code: bool = Field(
        default=False, description="Lets the model run code from its repository; the administrator must permit it too."
    )
