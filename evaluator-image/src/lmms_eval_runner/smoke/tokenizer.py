"""A byte-level tokenizer without merges: any text is tokens, nothing needs to be downloaded.

Used by both smoke models, each with its own special tokens.
"""

from collections.abc import Mapping, Sequence

from tokenizers import Tokenizer, decoders, pre_tokenizers
from tokenizers.models import BPE
from transformers import PreTrainedTokenizerFast

ANSWER_LETTERS = ("A", "B", "C", "D")


def vocabulary(special_tokens: Sequence[str]) -> dict[str, int]:
    """Token to id: the special tokens first, in their order, then the 256 bytes."""
    tokens = [*special_tokens, *sorted(pre_tokenizers.ByteLevel.alphabet())]
    return {token: position for position, token in enumerate(tokens)}


def byte_level_tokenizer(
    special_tokens: Sequence[str],
    *,
    pad: str,
    eos: str,
    named: Mapping[str, str],
    kind: type[PreTrainedTokenizerFast] = PreTrainedTokenizerFast,
) -> PreTrainedTokenizerFast:
    """The tokenizer over `vocabulary(special_tokens)`.

    `named` gives special tokens the attribute names under which a processor looks for them, as `image_token`;
    `kind` is the class that a processor insists on.
    """
    model = Tokenizer(BPE(vocab=vocabulary(special_tokens), merges=[]))
    model.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    model.decoder = decoders.ByteLevel()
    return kind(
        tokenizer_object=model,
        pad_token=pad,
        eos_token=eos,
        additional_special_tokens=list(special_tokens),
        extra_special_tokens=dict(named),
        padding_side="left",
        # Else it would return token_type_ids, which the models refuse to generate from.
        model_input_names=["input_ids", "attention_mask"],
    )


def all_but_letters(vocab: Mapping[str, int]) -> list[int]:
    """Ids of every token but A, B, C and D.

    Suppressed when a smoke model generates: untrained weights over 256 bytes would never hit an answer and every
    score would be 0, which looks the same as a broken run.
    """
    return [position for token, position in vocab.items() if token not in ANSWER_LETTERS]
