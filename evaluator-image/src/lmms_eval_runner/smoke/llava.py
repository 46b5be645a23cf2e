"""A LLaVA of two layers with random weights, for `--model llava_hf`.

It also ships code of its own (llava_code.py), for `--model huggingface` with `trust_remote_code=True`.
"""

import shutil
from pathlib import Path

import torch
from transformers import (
    CLIPImageProcessor,
    CLIPVisionConfig,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    LlavaProcessor,
)

from lmms_eval_runner.smoke.tokenizer import all_but_letters, byte_level_tokenizer, vocabulary

_PAD, _EOS, _IMAGE = "<pad>", "</s>", "<image>"
_SPECIAL_TOKENS = (_PAD, _EOS, _IMAGE)
_IMAGE_SIDE, _PATCH_SIDE = 28, 14
_CHAT_TEMPLATE = """\
{%- for message in messages %}{{ message['role'] | upper }}: \
{%- for part in message['content'] %}\
{%- if part['type'] == 'image' %}<image>
{% elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}
{% endfor %}{% if add_generation_prompt %}ASSISTANT:{% endif %}"""


def write(folder: Path, seed: int) -> Path:
    """Write model, tokenizer and processor to `folder`; the same seed gives the same weights."""
    torch.manual_seed(seed)
    model = LlavaForConditionalGeneration(_config())
    model.generation_config.suppress_tokens = all_but_letters(vocabulary(_SPECIAL_TOKENS))
    model.config.auto_map = {"AutoModel": "llava_code.SmokeLlava"}
    model.to(torch.bfloat16).save_pretrained(folder)
    shutil.copyfile(Path(__file__).with_name("llava_code.py"), folder / "llava_code.py")
    _processor().save_pretrained(folder)
    return folder


def _config() -> LlavaConfig:
    vocab = vocabulary(_SPECIAL_TOKENS)
    return LlavaConfig(
        vision_config=CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            image_size=_IMAGE_SIDE,
            patch_size=_PATCH_SIDE,
        ),
        text_config=LlamaConfig(
            vocab_size=len(vocab),
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=2,
            num_attention_heads=4,
            max_position_embeddings=4096,
            pad_token_id=vocab[_PAD],
            bos_token_id=vocab[_EOS],
            eos_token_id=vocab[_EOS],
            initializer_range=0.5,
        ),
        image_token_id=vocab[_IMAGE],
        image_seq_length=(_IMAGE_SIDE // _PATCH_SIDE) ** 2,
        vision_feature_layer=-1,
    )


def _processor() -> LlavaProcessor:
    return LlavaProcessor(
        image_processor=CLIPImageProcessor(
            size={"shortest_edge": _IMAGE_SIDE}, crop_size={"height": _IMAGE_SIDE, "width": _IMAGE_SIDE}
        ),
        tokenizer=byte_level_tokenizer(_SPECIAL_TOKENS, pad=_PAD, eos=_EOS, named={"image_token": _IMAGE}),
        patch_size=_PATCH_SIDE,
        vision_feature_select_strategy="default",
        num_additional_image_tokens=1,
        chat_template=_CHAT_TEMPLATE,
    )
