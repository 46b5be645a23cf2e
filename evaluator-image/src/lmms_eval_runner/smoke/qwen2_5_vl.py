"""A Qwen2.5-VL of two layers with random weights, for `--model qwen2_5_vl`."""

from pathlib import Path

import torch
from transformers import (
    Qwen2_5_VLConfig,
    Qwen2_5_VLForConditionalGeneration,
    Qwen2_5_VLProcessor,
    Qwen2TokenizerFast,
    Qwen2VLImageProcessor,
    Qwen2VLVideoProcessor,
)

from lmms_eval_runner.smoke.tokenizer import all_but_letters, byte_level_tokenizer, vocabulary

_PAD, _START, _EOS = "<|endoftext|>", "<|im_start|>", "<|im_end|>"
_VISION_START, _VISION_END = "<|vision_start|>", "<|vision_end|>"
_IMAGE, _VIDEO = "<|image_pad|>", "<|video_pad|>"
_SPECIAL_TOKENS = (_PAD, _START, _EOS, _VISION_START, _VISION_END, _IMAGE, _VIDEO)
_CHAT_TEMPLATE = """\
{%- for message in messages %}<|im_start|>{{ message['role'] }}
{% for part in message['content'] %}\
{%- if part['type'] == 'image' %}<|vision_start|><|image_pad|><|vision_end|>\
{%- elif part['type'] == 'video' %}<|vision_start|><|video_pad|><|vision_end|>\
{%- elif part['type'] == 'text' %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""


def write(folder: Path, seed: int) -> Path:
    """Write model, tokenizer and processor to `folder`; the same seed gives the same weights."""
    torch.manual_seed(seed)
    model = Qwen2_5_VLForConditionalGeneration(_config())
    model.generation_config.suppress_tokens = all_but_letters(vocabulary(_SPECIAL_TOKENS))
    model.to(torch.bfloat16).save_pretrained(folder)
    _processor().save_pretrained(folder)
    return folder


def _config() -> Qwen2_5_VLConfig:
    vocab = vocabulary(_SPECIAL_TOKENS)
    return Qwen2_5_VLConfig(
        text_config={
            "vocab_size": len(vocab),
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "rope_scaling": {"type": "default", "rope_type": "default", "mrope_section": [1, 1, 2]},
            "pad_token_id": vocab[_PAD],
            "bos_token_id": vocab[_PAD],
            "eos_token_id": vocab[_EOS],
            "initializer_range": 0.5,
        },
        vision_config={
            "depth": 2,
            "hidden_size": 32,
            "intermediate_size": 64,
            "num_heads": 4,
            "out_hidden_size": 32,
            "fullatt_block_indexes": [1],
        },
        image_token_id=vocab[_IMAGE],
        video_token_id=vocab[_VIDEO],
        vision_start_token_id=vocab[_VISION_START],
        vision_end_token_id=vocab[_VISION_END],
    )


def _processor() -> Qwen2_5_VLProcessor:
    tokenizer = byte_level_tokenizer(
        _SPECIAL_TOKENS,
        pad=_PAD,
        eos=_EOS,
        named={"image_token": _IMAGE, "video_token": _VIDEO},
        kind=Qwen2TokenizerFast,
    )
    return Qwen2_5_VLProcessor(
        image_processor=Qwen2VLImageProcessor(),
        tokenizer=tokenizer,
        video_processor=Qwen2VLVideoProcessor(),
        chat_template=_CHAT_TEMPLATE,
    )
