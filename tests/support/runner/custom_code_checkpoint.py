"""A checkpoint with custom code for all of transformers' auto classes; importing it leaves a mark."""

import json
from pathlib import Path

MARK = "code-of-the-checkpoint-ran"
FILE = "own_code.py"
CLASSES = ("AutoConfig", "AutoModel", "AutoModelForCausalLM", "AutoTokenizer", "AutoProcessor", "AutoImageProcessor")

_SOURCE = """\
import os, pathlib
pathlib.Path(os.environ["OWN_CODE_MARK"]).touch()
from transformers import LlamaConfig, LlamaModel, PreTrainedTokenizer, ProcessorMixin
from transformers.image_processing_utils import BaseImageProcessor

class OwnConfig(LlamaConfig):
    model_type = "own"
class OwnModel(LlamaModel):
    config_class = OwnConfig
class OwnTokenizer(PreTrainedTokenizer): pass
class OwnProcessor(ProcessorMixin): pass
class OwnImageProcessor(BaseImageProcessor): pass
"""


def write_checkpoint(folder: Path) -> Path:
    """Write the checkpoint into the folder; return the folder, which is the `pretrained` to give."""
    folder.mkdir(parents=True, exist_ok=True)
    own = {name: f"own_code.Own{name.removeprefix('Auto').partition('For')[0]}" for name in CLASSES}
    tokenizer = {**own, "AutoTokenizer": [own["AutoTokenizer"], None]}
    (folder / FILE).write_text(_SOURCE)
    (folder / "config.json").write_text(json.dumps({"model_type": "own", "auto_map": tokenizer}))
    (folder / "tokenizer_config.json").write_text(
        json.dumps({"tokenizer_class": "OwnTokenizer", "auto_map": tokenizer})
    )
    (folder / "preprocessor_config.json").write_text(json.dumps({"image_processor_type": "Own", "auto_map": own}))
    (folder / "processor_config.json").write_text(json.dumps({"processor_class": "OwnProcessor", "auto_map": own}))
    return folder
