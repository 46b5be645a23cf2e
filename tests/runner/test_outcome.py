"""Logs and exit codes to reasons and sentences. The logs are of real runs, the texts of real exceptions."""

from pathlib import Path

import pytest

from lmms_eval_core.failures import BY_REASON
from lmms_eval_core.phases import Reason
from lmms_eval_runner.disk import FullVolumes
from lmms_eval_runner.failure_rules import LAST_RULES, RULES, FailureRule
from lmms_eval_runner.outcome import MAX_TEXT, Evidence, explain_failed_answers, explain_failure

LOGS = Path(__file__).parent / "logs"
SITE = "/opt/venv/lib/python3.11/site-packages"
MAKING_THE_ADAPTER = [
    f'  File "{SITE}/lmms_eval/evaluator.py", line 518, in simple_evaluate',
    '  File "/opt/lmms-eval/lib/lmms_eval_runner/progress.py", line 61, in create',
    f'  File "{SITE}/lmms_eval/models/simple/llava_hf.py", line 93, in __init__',
]
LOADING_THE_DATA = [
    f'  File "{SITE}/lmms_eval/api/task.py", line 1153, in download',
    f'  File "{SITE}/datasets/load.py", line 1696, in load_dataset',
]
ANSWERING = [f'  File "{SITE}/lmms_eval/evaluator.py", line 1229, in evaluate']
LOOKING_UP_THE_ADAPTER = [f'  File "{SITE}/lmms_eval/models/__init__.py", line 274, in get_model']
COMMAND_LINE = [f'  File "{SITE}/lmms_eval/__main__.py", line 690, in cli_evaluate_single']
LINK = ["", "During handling of the above exception, another exception occurred:", ""]
CAUSE = ["", "The above exception was the direct cause of the following exception:", ""]


def real(name: str) -> Evidence:
    return Evidence(exit_code=0, lines=(LOGS / f"{name}.txt").read_text().splitlines(), gpus=1)


def raised(text: str, frames: list[str]) -> list[str]:
    return ["Traceback (most recent call last):", *frames, *text.splitlines()]


def log(*parts: list[str]) -> Evidence:
    lines = [line for part in parts for line in part]
    return Evidence(exit_code=0, lines=lines, gpus=1, model="/ckpt/m", endpoint="http://judge:1")


@pytest.mark.parametrize(
    ("name", "reason", "culprit"),
    [
        ("unknown-task", Reason.TASK_NOT_FOUND, "the task no_such_task;"),
        ("unknown-argument", Reason.BAD_ARGUMENTS, "{'foo_bar': 1}"),
        ("unknown-adapter", Reason.BAD_ARGUMENTS, "no model adapter 'llavva'"),
        ("missing-model-directory", Reason.MODEL_UNAVAILABLE, "'/mnt/ckpt/run/nope'"),
        ("dataset-offline", Reason.DATASET_UNAVAILABLE, "'lmms-lab-encoder/MME'"),
        ("exception-in-task", Reason.EVALUATION_ERROR, "RuntimeError: smoke_vqa was told"),
    ],
)
def test_real_logs(name: str, reason: Reason, culprit: str) -> None:
    outcome = explain_failure(real(name))
    assert outcome.reason is reason
    assert culprit in outcome.message
    assert "\n" not in outcome.message


@pytest.mark.parametrize(
    ("reason", "text", "frames"),
    [
        (Reason.OUT_OF_MEMORY, "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 20.00 GiB.", ANSWERING),
        (Reason.OUT_OF_MEMORY, "RuntimeError: CUDA error: out of memory", MAKING_THE_ADAPTER),
        (
            Reason.OUT_OF_MEMORY,
            "RuntimeError: DataLoader worker is killed: out of shared memory. Raise the limit.",
            ANSWERING,
        ),
        (Reason.OUT_OF_MEMORY, "OSError: [Errno 12] Cannot allocate memory", LOADING_THE_DATA),
        (Reason.OUT_OF_MEMORY, "ValueError: No available memory for the cache blocks.", MAKING_THE_ADAPTER),
        (
            Reason.ACCESS_DENIED,
            "OSError: You are trying to access a gated repo.\nMake sure to have access",
            MAKING_THE_ADAPTER,
        ),
        (
            Reason.ACCESS_DENIED,
            "datasets.exceptions.DatasetNotFoundError: Dataset 'o/g' is a gated dataset",
            LOADING_THE_DATA,
        ),
        (
            Reason.ACCESS_DENIED,
            "OSError: There was a specific error\n401 Client Error: Unauthorized for url",
            MAKING_THE_ADAPTER,
        ),
        (
            Reason.ACCESS_DENIED,
            "huggingface_hub.errors.HfHubHTTPError: 401 Client Error: Unauthorized",
            LOADING_THE_DATA,
        ),
        (Reason.ACCESS_DENIED, "openai.AuthenticationError: Error code: 401 - {'error': 'no'}", ANSWERING),
        (
            Reason.MODEL_UNAVAILABLE,
            "OSError: org/x is not a local folder and is not a valid model identifier",
            MAKING_THE_ADAPTER,
        ),
        (
            Reason.MODEL_UNAVAILABLE,
            "OSError: It looks like the config file at '/m' is not a valid JSON file.",
            MAKING_THE_ADAPTER,
        ),
        (
            Reason.MODEL_UNAVAILABLE,
            "safetensors_rust.SafetensorError: Error while deserializing header",
            MAKING_THE_ADAPTER,
        ),
        (
            Reason.MODEL_UNAVAILABLE,
            "OSError: Error no file named model.safetensors found in directory /m.",
            MAKING_THE_ADAPTER,
        ),
        (
            Reason.MODEL_UNAVAILABLE,
            "RuntimeError: Error(s) in loading state_dict for Linear:\n\tsize",
            MAKING_THE_ADAPTER,
        ),
        (
            Reason.MODEL_UNAVAILABLE,
            "FileNotFoundError: [Errno 2] No such file or directory: '/m/x.bin'",
            MAKING_THE_ADAPTER,
        ),
        (
            Reason.DATASET_UNAVAILABLE,
            "datasets.exceptions.DatasetNotFoundError: Dataset 'o/d' doesn't exist",
            LOADING_THE_DATA,
        ),
        (Reason.DATASET_UNAVAILABLE, "FileNotFoundError: Unable to find '/nope/x.parquet'", LOADING_THE_DATA),
        (Reason.DATASET_UNAVAILABLE, "ValueError: Unknown split \"tst\". Should be one of ['test'].", LOADING_THE_DATA),
        (
            Reason.UNREACHABLE,
            "ConnectionError: Couldn't reach 'o/n' on the Hub (LocalEntryNotFoundError)",
            LOADING_THE_DATA,
        ),
        (
            Reason.UNREACHABLE,
            "OSError: We couldn't connect to 'https://huggingface.co' to load the files",
            MAKING_THE_ADAPTER,
        ),
        (Reason.UNREACHABLE, "openai.APIConnectionError: Connection error.", ANSWERING),
        (Reason.GPU_ERROR, "RuntimeError: CUDA error: device-side assert triggered", ANSWERING),
        (Reason.GPU_ERROR, "torch.distributed.DistBackendError: NCCL error in: ProcessGroupNCCL.cpp", ANSWERING),
        (
            Reason.BAD_ARGUMENTS,
            "TypeError: Llava.__init__() got an unexpected keyword argument 'fo'",
            MAKING_THE_ADAPTER,
        ),
        (Reason.BAD_ARGUMENTS, "ValueError: batch_size must be 1", MAKING_THE_ADAPTER),
        (Reason.BAD_ARGUMENTS, "ModuleNotFoundError: No module named 'librosa'", LOOKING_UP_THE_ADAPTER),
        (Reason.BAD_ARGUMENTS, "ValueError: --offset must be >= 0", COMMAND_LINE),
        (Reason.EVALUATION_ERROR, "ZeroDivisionError: division by zero", ANSWERING),
        (Reason.EVALUATION_ERROR, "FileNotFoundError: [Errno 2] No such file or directory: '/d/x.png'", ANSWERING),
    ],
)
def test_real_texts(reason: Reason, text: str, frames: list[str]) -> None:
    assert explain_failure(log(raised(text, frames))).reason is reason


POD = ("/run/lmms-eval", "/cache", "/tmp", "/dev/shm", "/data/out")


@pytest.mark.parametrize(
    ("text", "full", "reason", "words"),
    [
        (
            "OSError: [Errno 28] No space left on device: '/cache/hub/x'",
            (),
            Reason.DISK_FULL,
            "at /cache was full; free space in",
        ),
        (
            "OSError: [Errno 28] No space left on device",
            ("/tmp",),
            Reason.DISK_FULL,
            "/tmp was full; raise spec.resources.eph",
        ),
        (
            "OSError: [Errno 28] No space left on device: '/data/out/x'",
            ("/tmp",),
            Reason.DISK_FULL,
            "/data/out was full; free",
        ),
        (
            "RuntimeError: Data processing error: IO Error: No space left on device (os error 28)",
            (),
            Reason.DISK_FULL,
            "a volume",
        ),
        ("OSError: [Errno 122] Disk quota exceeded: '/cache/x'", (), Reason.DISK_FULL, "/cache"),
        (
            "OSError: [Errno 28] No space left on device: '/dev/shm/x'",
            (),
            Reason.OUT_OF_MEMORY,
            "spec.resources.sharedMemory",
        ),
        (
            "OSError: [Errno 28] No space left on device",
            ("/dev/shm",),
            Reason.OUT_OF_MEMORY,
            "spec.resources.sharedMemory",
        ),
        (
            "RuntimeError: unable to write to file </torch_19_42>: No space left on device (28)",
            (),
            Reason.OUT_OF_MEMORY,
            "spec.resources.sharedMemory",
        ),
    ],
)
@pytest.mark.parametrize("frames", [MAKING_THE_ADAPTER, LOADING_THE_DATA, ANSWERING])
def test_a_full_volume_is_named_with_what_to_do(
    text: str, full: tuple[str, ...], reason: Reason, words: str, frames: list[str]
) -> None:
    seen = FullVolumes(ever=full)
    for lines in (
        raised(text, frames),
        [*raised(text, frames), *CAUSE, *raised("OSError: Can't load tokenizer for 'm'.", frames)],
    ):
        outcome = explain_failure(Evidence(0, lines, gpus=1, full=seen, mount_points=POD))
        assert outcome.reason is reason
        assert words in outcome.message
        assert not BY_REASON[outcome.reason].retry


@pytest.mark.parametrize(
    ("code", "full", "reason"),
    [
        (1, FullVolumes(("/tmp",), ("/tmp",)), Reason.DISK_FULL),
        (-7, FullVolumes(("/tmp",), ("/tmp",)), Reason.DISK_FULL),
        (-7, FullVolumes(("/dev/shm",), ("/dev/shm",)), Reason.OUT_OF_MEMORY),
        (-9, FullVolumes(("/tmp",), ("/tmp",)), Reason.INTERRUPTED),
        (1, FullVolumes(("/tmp",)), Reason.EVALUATION_ERROR),
    ],
)
def test_an_end_without_a_word_is_told_by_what_was_full(code: int, full: FullVolumes, reason: Reason) -> None:
    assert explain_failure(Evidence(code, ["Loading"], full=full, mount_points=POD)).reason is reason


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("openai.RateLimitError: Error code: 429 - {'error': {'code': 'insufficient_quota'}}", "quota"),
        (
            "httpx.ConnectError: [SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self-signed",
            "SSL_CERT_FILE",
        ),
        ("requests.exceptions.MissingSchema: Invalid URL 'judge:1': No scheme supplied.", "spec.modelArgs"),
        ("httpx.UnsupportedProtocol: Request URL is missing an 'http://' or 'https://' protocol.", "spec.modelArgs"),
        ("AssertionError: Torch not compiled with CUDA enabled", "spec.image"),
    ],
)
def test_what_another_attempt_would_meet_again_is_not_tried_again(text: str, words: str) -> None:
    """Even below the word that the client library has for every trouble."""
    last = raised("openai.APIConnectionError: Connection error.", ANSWERING)
    for evidence in (log(raised(text, ANSWERING)), log(raised(text, []), CAUSE, last)):
        outcome = explain_failure(evidence)
        assert not BY_REASON[outcome.reason].retry
        assert words in outcome.message


def test_a_hub_that_is_switched_off_is_no_network_failure() -> None:
    cause = raised(
        "huggingface_hub.errors.LocalEntryNotFoundError: Cannot find the requested files in the disk cache and outgoing"
        " traffic has been disabled.",
        [],
    )
    last = raised("OSError: We couldn't connect to 'https://huggingface.co' to load the files", MAKING_THE_ADAPTER)
    outcome = explain_failure(log(cause, CAUSE, last))
    assert outcome.reason is Reason.MODEL_UNAVAILABLE
    assert outcome.message.endswith("(model '/ckpt/m')") or "/ckpt/m" in outcome.message


def test_a_missing_repository_answers_401_and_is_missing_all_the_same() -> None:
    cause = raised("huggingface_hub.errors.RepositoryNotFoundError: 401 Client Error.", [])
    last = raised("OSError: org/x is not a local folder and is not a valid model identifier", MAKING_THE_ADAPTER)
    assert explain_failure(log(cause, LINK, last)).reason is Reason.MODEL_UNAVAILABLE


def test_what_a_retry_hides_is_told() -> None:
    cause = raised("KeyError: 'answer'", ANSWERING)
    last = raised("tenacity.RetryError: RetryError[<Future at 0x7f state=finished raised KeyError>]", ANSWERING)
    assert explain_failure(log(cause, CAUSE, last)).message == "the evaluation raised KeyError: 'answer'"


def test_the_root_cause_may_be_another_process() -> None:
    engine = raised("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB.", [])
    main = raised("RuntimeError: Engine core initialization failed. See root cause above.", MAKING_THE_ADAPTER)
    assert explain_failure(log(engine, ["2026-11-23 07:00:00 | INFO"], main)).reason is Reason.OUT_OF_MEMORY


def test_what_comes_after_the_end_does_not_count() -> None:
    first = raised("ZeroDivisionError: division by zero", ANSWERING)
    end = [
        "2026-11-23 07:00:00 | ERROR    | lmms_eval.__main__:cli_evaluate:614 - Error during evaluation: division "
        "by zero."
    ]
    noise = raised("torch.distributed.DistBackendError: NCCL communicator was aborted", [])
    assert explain_failure(log(first, end, noise)).reason is Reason.EVALUATION_ERROR


@pytest.mark.parametrize(
    ("evidence", "reason", "words"),
    [
        (Evidence(-9, []), Reason.INTERRUPTED, "SIGKILL"),
        (Evidence(-11, ["Fatal Python error: Segmentation fault"]), Reason.INTERRUPTED, "SIGSEGV"),
        (Evidence(143, []), Reason.INTERRUPTED, "SIGTERM"),
        (Evidence(1, ["  traceback : Signal 9 (SIGKILL) received by PID 77"]), Reason.INTERRUPTED, "SIGKILL"),
        (Evidence(-9, [], memory_kills=1), Reason.OUT_OF_MEMORY, "spec.resources.memory"),
        (Evidence(2, ["usage: x", "x: error: argument --seed: a is not an integer"]), Reason.BAD_ARGUMENTS, "--seed"),
        (
            Evidence(1, ["/opt/venv/bin/python: No module named lmms_eval", ""]),
            Reason.EVALUATION_ERROR,
            "No module named",
        ),
        (Evidence(0, []), Reason.EVALUATION_ERROR, "exit code 0"),
        (
            Evidence(0, ["… - Could not save results aggregated", "… - OSError(28, 'No space left on device')"]),
            Reason.DISK_FULL,
            "No space left on device",
        ),
        (
            Evidence(0, ["… - Could not save results aggregated", "… - OSError(30, 'Read-only file system')"]),
            Reason.EVALUATION_ERROR,
            "Read-only file system",
        ),
    ],
)
def test_ends_without_an_exception(evidence: Evidence, reason: Reason, words: str) -> None:
    outcome = explain_failure(evidence)
    assert outcome.reason is reason
    assert words in outcome.message


def test_a_missing_gpu_is_the_fault_of_the_gpu_only_where_one_was_asked_for() -> None:
    lines = raised("RuntimeError: Found no NVIDIA driver on your system.", MAKING_THE_ADAPTER)
    assert explain_failure(Evidence(0, lines, gpus=1)).reason is Reason.GPU_ERROR
    outcome = explain_failure(Evidence(0, lines, gpus=0))
    assert outcome.reason is Reason.BAD_ARGUMENTS
    assert "spec.gpus is 0" in outcome.message


@pytest.mark.parametrize(
    ("example", "reason"),
    [
        ("Connection error.", Reason.UNREACHABLE),
        ("Request timed out.", Reason.UNREACHABLE),
        ("Error code: 503 - no healthy upstream", Reason.UNREACHABLE),
        ("Error code: 401 - Incorrect API key provided", Reason.ACCESS_DENIED),
        ("Error code: 404 - The model `m` does not exist.", Reason.MODEL_UNAVAILABLE),
        ("CUDA out of memory. Tried to allocate 1.00 GiB.", Reason.OUT_OF_MEMORY),
        ("integer division or modulo by zero", Reason.ALL_ANSWERS_FAILED),
        ("", Reason.ALL_ANSWERS_FAILED),
    ],
)
def test_answers_that_all_failed(example: str, reason: Reason) -> None:
    outcome = explain_failed_answers(example, 7, endpoint="http://judge:1/v1")
    assert outcome.reason is reason
    assert outcome.message.startswith("not one of 7 answers is a real one")
    assert example in outcome.message
    assert ("http://judge:1/v1" in outcome.message) == (reason is Reason.UNREACHABLE)


def test_a_long_text_is_cut() -> None:
    outcome = explain_failure(log(raised("RuntimeError: " + "x" * 10_000, ANSWERING)))
    assert len(outcome.message) < MAX_TEXT + 100


@pytest.mark.parametrize("rule", [*RULES, *LAST_RULES])
def test_every_rule_ends_in_a_reason_of_the_runner(rule: FailureRule) -> None:
    assert BY_REASON[rule.reason].exit_code
