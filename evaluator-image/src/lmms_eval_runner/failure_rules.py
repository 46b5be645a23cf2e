"""The table from exceptions of the harness to failure classes: which text, raised where, means what. `outcome` applies
it.

The first rule that fits decides, so the order matters: what is certain comes before what is only likely.
"""

import re
from collections.abc import Callable
from typing import Final, NamedTuple

from lmms_eval_core.phases import Reason

from .tracebacks import ExceptionChain, LoggedException

Where = Callable[[ExceptionChain], bool]


class FailureRule(NamedTuple):
    """`sentence` may name `{text}`, the message of the exception, and `{culprit}`, a group of the pattern."""

    reason: Reason
    pattern: re.Pattern[str]
    sentence: str
    where: Where


def _is_anywhere(chain: ExceptionChain) -> bool:
    return True


def _is_in_adapter(chain: ExceptionChain) -> bool:
    return _has_frame(chain, "create", "lmms_eval_runner/progress.py") or _has_frame(chain, "create_from_arg_string")


def _is_in_adapter_lookup(chain: ExceptionChain) -> bool:
    return _has_frame(chain, "get_model", "lmms_eval/models/__init__.py")


def _is_in_dataset(chain: ExceptionChain) -> bool:
    return _has_frame(chain, "download", "lmms_eval/api/task.py") or _has_frame(
        chain, "load_dataset", "datasets/load.py"
    )


def _is_in_command_line(chain: ExceptionChain) -> bool:
    last = chain[-1].frames[-1:]
    return bool(last) and last[0].function == "cli_evaluate_single"


def _has_frame(chain: ExceptionChain, function: str, file: str = "") -> bool:
    return any(raised.has_frame(function, file) for raised in chain)


def _make_rule(reason: Reason, pattern: str, sentence: str, where: Where = _is_anywhere) -> FailureRule:
    return FailureRule(reason, re.compile(pattern), sentence, where)


DISK_FULL: Final = (
    r"No space left on device|\[Errno 28\]|ENOSPC|os error 28\b|Disk quota exceeded|\[Errno "
    r"122\]|database or disk is full"
)
_NOT_ON_THE_HUB = (
    r"RepositoryNotFoundError|not a valid model identifier|DatasetNotFoundError|(?<!Local)EntryNotFoundError"
    r"|RevisionNotFoundError|Error code: 404"
)
_OFFLINE = r"(?i)offline mode is enabled|OfflineModeIsEnabled|outgoing traffic has been disabled"
_REPO_NAME = r"Repo id must [^\n]*?: '(?P<culprit>[^'\n]*)'"
_MISSING_FILE = r"(?:No such file or directory|Not a directory): '?(?P<culprit>[^'\n]+)"
_NETWORK = (
    r"APIConnectionError|APITimeoutError|ConnectionError|ConnectTimeout|ReadTimeout|RemoteDisconnected|ProxyError|SSLError"
    r"|Connection (?:error|refused|reset|aborted)|Max retries exceeded|Request timed out"
    r"|Name or service not known|Temporary failure in name resolution|No route to host|Network is unreachable"
    r"|Couldn't reach|couldn't connect to|[Cc]heck your (?:internet )?connection|RateLimitError|Too Many Requests"
    r"|\b(?:429|50[0234]) (?:Client|Server) Error|Error code: (?:429|50\d)|Service Unavailable"
)
_BROKEN_MODEL = (
    r"SafetensorError|deserializing header|HeaderTooLarge|MetadataIncompleteBuffer|PytorchStreamReader|UnpicklingError"
    r"|loading state_dict|is not a valid JSON file|Unrecognized model in|Incorrect path_or_model_id"
    r"|Invalid repository ID or local directory|[Nn]o file named|not appear to have a file|Can't load \w+ for"
    r"|couldn't (?:be )?load(?:ed)?|JSONDecodeError|Unable to load weights"
)

_PERMIT = "spec.trustRemoteCode: true permits that, where the administrator has set policies.trustRemoteCode=true"

RULES: Final = (
    # By `remote_code`, or by a library that was told to trust nothing; whatever was raised because of it.
    _make_rule(
        Reason.BAD_ARGUMENTS,
        r"\bRemoteCodeRefused: (?P<culprit>[^\n]+)",
        f"{{culprit}}, which is code that comes with a model; {_PERMIT}",
    ),
    _make_rule(
        Reason.BAD_ARGUMENTS,
        r"trust_remote_code=True",
        f"the model needs code of its own, which this evaluation must not run; {_PERMIT}: {{text}}",
        # The scripts of data sets, which older versions of datasets run, are no checkpoint's.
        lambda chain: not _is_in_dataset(chain),
    ),
    _make_rule(
        Reason.TASK_NOT_FOUND,
        r"^ValueError: Tasks not found: (?P<culprit>.+?)\. Try",
        "lmms-eval does not know the task {culprit}; check spec.tasks, and spec.includePath for tasks of your own",
    ),
    _make_rule(
        Reason.OUT_OF_MEMORY,
        r"out of shared memory|insufficient shared memory|allocate shared memory|shared memory "
        r"segment|</torch_|/dev/shm/",
        "/dev/shm is too small, raise spec.resources.sharedMemory: {text}",
    ),
    # Below any other exception: a library that cannot write its cache says that there is no model.
    _make_rule(Reason.DISK_FULL, DISK_FULL, "{text}"),
    _make_rule(
        Reason.BAD_ARGUMENTS,
        r"^ValueError: Model '(?P<culprit>[^']*)' not found in available models",
        "lmms-eval has no model adapter '{culprit}'; check spec.model",
        _is_in_adapter_lookup,
    ),
    _make_rule(
        Reason.OUT_OF_MEMORY,
        r"CUDA out of memory|OutOfMemoryError|CUDA error: out of memory|HIP out of memory|CUBLAS_STATUS_ALLOC_FAILED"
        r"|No available memory for the cache blocks|larger than the (?:maximum number of tokens|available KV cache)"
        r"|is less than desired GPU memory utilization",
        "the GPU ran out of memory: {text}",
    ),
    _make_rule(
        Reason.OUT_OF_MEMORY,
        r"^MemoryError|Cannot allocate memory|can't allocate memory|not enough memory: you tried to allocate",
        "the container ran out of memory, raise spec.resources.memory: {text}",
    ),
    _make_rule(
        Reason.ACCESS_DENIED,
        r"GatedRepoError|gated (?:repo|dataset)|LocalTokenNotFoundError|api_key client option must be set",
        "access denied, give a token that has it by spec.env: {text}",
    ),
    _make_rule(Reason.DATASET_UNAVAILABLE, _NOT_ON_THE_HUB, "the data set is missing: {text}", _is_in_dataset),
    _make_rule(Reason.MODEL_UNAVAILABLE, _NOT_ON_THE_HUB, "the model is missing: {text}"),
    _make_rule(
        Reason.ACCESS_DENIED,
        r"\b40[13] (?:Client Error|Unauthorized|Forbidden)|Error code: "
        r"40[13]|AuthenticationError|PermissionDeniedError",
        "access denied, check the credentials in spec.env: {text}",
    ),
    _make_rule(
        Reason.DATASET_UNAVAILABLE,
        _OFFLINE,
        "the data set is not in the cache, and the hub is switched off here: {text}",
        _is_in_dataset,
    ),
    _make_rule(
        Reason.MODEL_UNAVAILABLE, _OFFLINE, "the model is not in the cache, and the hub is switched off here: {text}"
    ),
    _make_rule(
        Reason.BAD_ARGUMENTS,
        r"not compiled with CUDA",
        "this image has no CUDA, set spec.image to one that has or spec.gpus to 0: {text}",
    ),
    _make_rule(
        Reason.GPU_ERROR,
        r"CUDA error|CUDA driver|CUDA unknown error|cuDNN error|CUBLAS_STATUS_|CUDNN_STATUS_|NCCL|DistBackendError"
        r"|device-side assert|uncorrectable ECC|illegal memory access|No CUDA GPUs|no NVIDIA driver",
        "the GPU failed: {text}",
    ),
    _make_rule(
        Reason.MODEL_UNAVAILABLE,
        _REPO_NAME,
        "the model '{culprit}' is neither a folder in this pod nor a name on the hub; check spec.modelArgs and "
        "spec.volumes",
        _is_in_adapter,
    ),
    # Another attempt would find the same: these are no outages, whatever the library calls them.
    _make_rule(
        Reason.ACCESS_DENIED,
        r"insufficient_quota|exceeded your current quota",
        "the endpoint says that the quota of these credentials is used up: {text}",
    ),
    _make_rule(
        Reason.BAD_ARGUMENTS,
        r"CERTIFICATE_VERIFY_FAILED|certificate verify failed",
        "the certificate of an endpoint is not trusted here; mount its authority and name the file by SSL_CERT_FILE in"
        " spec.env: {text}",
    ),
    _make_rule(
        Reason.BAD_ARGUMENTS,
        r"UnsupportedProtocol|MissingSchema|InvalidSchema|InvalidURL|missing an 'http",
        "the address of an endpoint is none, check spec.modelArgs and spec.env: {text}",
    ),
    _make_rule(Reason.UNREACHABLE, _NETWORK, "a hub, judge or model endpoint could not be reached: {text}"),
    _make_rule(
        Reason.MODEL_UNAVAILABLE, _MISSING_FILE, "the model needs a file that is missing: {culprit}", _is_in_adapter
    ),
    _make_rule(Reason.MODEL_UNAVAILABLE, _BROKEN_MODEL, "the model could not be loaded: {text}", _is_in_adapter),
    _make_rule(
        Reason.BAD_ARGUMENTS,
        r"^TypeError: (?P<maker>\S+)\.__init__\(\) got an unexpected keyword argument '(?P<culprit>[^']*)'",
        "{maker} does not know the argument '{culprit}'; check spec.modelArgs",
        _is_in_adapter,
    ),
)

# Where an exception of any kind came from says enough, once no rule above knew its text.
_REFUSALS = (
    r"^(?:TypeError|ValueError|AssertionError|NotImplementedError|KeyError|AttributeError|ImportError"
    r"|ModuleNotFoundError)\b"
)
LAST_RULES: Final = (
    _make_rule(Reason.DATASET_UNAVAILABLE, r"", "the data set could not be loaded: {text}", _is_in_dataset),
    _make_rule(
        Reason.BAD_ARGUMENTS, r"", "the model adapter cannot be used in this image: {text}", _is_in_adapter_lookup
    ),
    _make_rule(Reason.BAD_ARGUMENTS, _REFUSALS, "the model adapter refused its arguments: {text}", _is_in_adapter),
    _make_rule(Reason.MODEL_UNAVAILABLE, r"^OSError\b", "the model could not be loaded: {text}", _is_in_adapter),
    _make_rule(Reason.BAD_ARGUMENTS, r"^ValueError\b", "lmms-eval refused an argument: {text}", _is_in_command_line),
)


def find_culprit(chain: ExceptionChain) -> LoggedException:
    """Return the exception that says what happened: the last one, or its cause where the last one only ends retries."""
    if len(chain) > 1 and chain[-1].type.endswith("RetryError"):
        return chain[-2]
    return chain[-1]
