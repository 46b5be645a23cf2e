"""A training loop that has every Nth checkpoint evaluated and never waits for it: the GPUs of the training go on.

    LMMS_EVAL_URL=https://lmms-eval.example.com LMMS_EVAL_TOKEN=... python training_loop.py

The checkpoints lie on a volume that the evaluations mount. A restarted loop submits nothing twice: a submission is
known by its run and step.
"""

import os

from lmms_eval_client import Client, EvaluateRequest, JobStatus, LmmsEvalError, Volume

RUN = os.environ.get("RUN", "run-7")
STEPS = int(os.environ.get("STEPS", "3000"))
EVERY = int(os.environ.get("EVERY", "1000"))


def train_one_step(step: int) -> None:
    """Yours."""


def save_checkpoint(step: int) -> str:
    """Yours; the folder below the volume's root."""
    return f"{RUN}/checkpoint-{step}"


def evaluation(step: int, folder: str) -> EvaluateRequest:
    """What is asked of every checkpoint."""
    return EvaluateRequest(
        model="qwen2_5_vl",
        model_args={"pretrained": f"/checkpoints/{folder}"},
        tasks=["mme", "mmmu_val"],
        volumes=[Volume(claim_name="checkpoints", mount_path="/checkpoints")],
        labels={"run": RUN, "step": str(step)},
        # Newer checkpoints first: of an old one nobody waits for the score.
        priority=min(step // EVERY, 100),
    )


def main() -> None:
    """Trains, submits, and in the end prints what there is so far."""
    with Client() as client:
        for step in range(1, STEPS + 1):
            train_one_step(step)
            if step % EVERY == 0:
                submit(client, step)
        for job in client.jobs(labels=[f"run={RUN}"]):
            print(
                job.labels["step"],
                job.status,
                job.summary if job.status is JobStatus.COMPLETED else job.message or job.reason,
            )


def submit(client: Client, step: int) -> None:
    """Asks for an evaluation; a training must not fail because its evaluation could not be asked for."""
    try:
        job = client.submit(evaluation(step, save_checkpoint(step)), idempotency_key=f"{RUN}/{step}")
        print(f"step {step}: evaluation {job.job_id}, {job.position_in_queue} before it")
    except LmmsEvalError as error:
        print(f"step {step}: not evaluated: {error}")


if __name__ == "__main__":
    main()
