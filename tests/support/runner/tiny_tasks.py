"""Two tasks of a few documents: `tiny_greedy`, and `tiny_sampled`, whose pictures and scores draw from `random` too.

TINY_KILL_AT is the number of the document, as they come, at which the process kills itself.
"""

import json
from pathlib import Path

DOCUMENTS = 6

CODE = """
import os, random, signal, sys
from PIL import Image

def visit():
    # lmms-eval imports this file once for each function.
    sys.tiny_visited = getattr(sys, "tiny_visited", 0) + 1
    if str(sys.tiny_visited) == os.environ.get("TINY_KILL_AT"):
        os.kill(os.getpid(), signal.SIGKILL)

def draw(doc):
    visit()
    return [Image.new("RGB", (56 + 28 * (doc["number"] % 3), 56), (doc["number"] * 20, 80, 90))]

def draw_at_random(doc):
    visit()
    return [Image.new("RGB", (56, 56), (random.randrange(256), 80, 90))]

def ask(doc):
    return doc["question"]

def score(doc, results):
    return {"tiny": float(len(results[0]) + doc["number"])}

def score_at_random(doc, results):
    return {"tiny": float(len(results[0])) + random.random()}
"""

DEFINITION = """\
task: {name}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {folder}/{name}.jsonl
test_split: test
output_type: generate_until
doc_to_visual: !function tiny.{draw}
doc_to_text: !function tiny.ask
doc_to_target: answer
generation_kwargs:
  max_new_tokens: {tokens}
  temperature: {temperature}
  do_sample: {sampled}
process_results: !function tiny.{score}
metric_list:
  - metric: tiny
    aggregation: mean
    higher_is_better: true
"""


def write_tiny_tasks(folder: Path) -> Path:
    """Write both to `folder`, for `--include_path`."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "tiny.py").write_text(CODE)
    for name, random in (("tiny_greedy", False), ("tiny_sampled", True)):
        rows = (
            {"number": number, "question": f"What is {'so ' * (number % 4)}{number}?", "answer": f"{number}"}
            for number in range(DOCUMENTS)
        )
        (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        suffix = "_at_random" if random else ""
        settings = {"draw": f"draw{suffix}", "score": f"score{suffix}", "sampled": str(random).lower()}
        numbers = {"tokens": 5 if random else 4, "temperature": float(random)}
        (folder / f"{name}.yaml").write_text(DEFINITION.format(name=name, folder=folder, **settings, **numbers))
    return folder
