"""Names that several parts must spell alike: API group, labels, environment variables, objects of an evaluation."""

from typing import Final

GROUP: Final = "lmms-eval.io"
VERSION: Final = "v1alpha1"
API_VERSION: Final = f"{GROUP}/{VERSION}"
KIND: Final = "LMMEvaluation"
PLURAL: Final = "lmmevaluations"
SINGULAR: Final = "lmmevaluation"
SHORT_NAME: Final = "lmme"
CRD_NAME: Final = f"{PLURAL}.{GROUP}"

# On the CRD: tells installations that share it whether theirs is the same.
ANNOTATION_SCHEMA: Final = f"{GROUP}/schema"

# Labels on the Jobs and pods of an attempt.
LABEL_MANAGED_BY: Final = "app.kubernetes.io/managed-by"
MANAGED_BY: Final = "lmms-eval-operator"
LABEL_EVALUATION_UID: Final = f"{GROUP}/evaluation-uid"
LABEL_EVALUATION: Final = f"{GROUP}/evaluation"
LABEL_ATTEMPT: Final = f"{GROUP}/attempt"
LABEL_SLOT: Final = f"{GROUP}/slot"
# Holds every pod of an attempt off the nodes, until the operator has written that one down and removes it.
SCHEDULING_GATE: Final = f"{GROUP}/attempt"

# On a Job: into how many processes its run is divided.
ANNOTATION_PROCESSES: Final = f"{GROUP}/processes"

# Who created an evaluation, and annotations that the front end leaves on it.
LABEL_CREATED_BY: Final = f"{GROUP}/created-by"
CREATED_BY_API: Final = "api"
ANNOTATION_REQUEST: Final = f"{GROUP}/request"
ANNOTATION_SUBMISSION: Final = f"{GROUP}/submission"
ANNOTATION_CANCELLED_BY: Final = f"{GROUP}/cancelled-by"
# What the front end believes when it reads it: an admission policy lets nobody else write it.
FRONT_END_LABELS: Final = (LABEL_CREATED_BY,)
FRONT_END_ANNOTATIONS: Final = (ANNOTATION_CANCELLED_BY, ANNOTATION_REQUEST, ANNOTATION_SUBMISSION)

# Containers of the evaluator pod.
EVALUATOR_CONTAINER: Final = "evaluator"
REPORTER_CONTAINER: Final = "reporter"

# The Lease by which one of the operator's replicas leads.
OPERATOR_LEASE: Final = "lmms-eval-operator"

# Environment variables of the evaluator pod.
ENV_RUN: Final = "LMMS_EVAL_RUN"
ENV_RUN_DIRECTORY: Final = "LMMS_EVAL_RUN_DIRECTORY"
# Where the catalogue looks for tasks besides lmms-eval's own.
ENV_INCLUDE_PATH: Final = "LMMS_EVAL_INCLUDE_PATH"
# "0" switches off what makes a start shorter; for whoever looks for a fault, and for the benchmark.
ENV_WARM_START: Final = "LMMS_EVAL_WARM_START"
ENV_READ_AHEAD: Final = "LMMS_EVAL_READ_AHEAD"

MAX_NAME: Final = 63
# The Job controller appends "-" and five characters for the pod; a name over 63 would be cut there.
MAX_JOB_NAME: Final = MAX_NAME - 6


def job_name(*, evaluation: str, uid: str, attempt: int) -> str:
    """The Job of one attempt: a pure function, so that creating it twice is a conflict and never a second run.

    Only the evaluation's name is cut; the uid's first eight characters and the attempt always stay whole.
    """
    suffix = f"-{uid[:8]}-a{attempt}"
    return evaluation[: MAX_JOB_NAME - len(suffix)].rstrip("-.") + suffix


def slot_lease_name(slot: int) -> str:
    """The Lease that is the compare-and-swap register of a slot."""
    return f"lmms-eval-slot-{slot}"
