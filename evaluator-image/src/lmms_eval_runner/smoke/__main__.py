"""Write the smoke models and the smoke task: `python -m lmms_eval_runner.smoke DEST [--seed N]`.

DEST/models/{llava,qwen2_5_vl} are what `pretrained=` takes, DEST/tasks is what `--include_path` takes.
"""

import argparse
from pathlib import Path

from lmms_eval_runner.smoke import llava, qwen2_5_vl, task


def main() -> None:
    """Write all of it below DEST and print each folder with its size."""
    parser = argparse.ArgumentParser(prog="python -m lmms_eval_runner.smoke", description=__doc__)
    parser.add_argument("destination", type=Path, metavar="DEST")
    parser.add_argument("--seed", type=int, default=0, help="seed of the weights and of the questions (default: 0)")
    arguments = parser.parse_args()
    models = arguments.destination / "models"
    _finish(llava.write(models / "llava", arguments.seed))
    _finish(qwen2_5_vl.write(models / "qwen2_5_vl", arguments.seed))
    _finish(task.write(arguments.destination / "tasks", arguments.seed))


def _finish(folder: Path) -> None:
    files = list(folder.iterdir())
    for file in files:
        # Weights are saved for their owner alone, and in the image it is another user who reads them.
        file.chmod(0o644)
    print(f"{folder}: {sum(file.stat().st_size for file in files) // 1024} KiB")


if __name__ == "__main__":
    main()
