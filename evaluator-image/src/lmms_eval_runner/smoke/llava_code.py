"""Model code as a checkpoint may ship it; copied beside the weights of the smoke LLaVA and loaded from there.

The adapter `huggingface` takes AutoModel, and for a LLaVA transformers gives that a class which cannot generate.
"""

from transformers import LlavaForConditionalGeneration


class SmokeLlava(LlavaForConditionalGeneration):  # type: ignore[misc]  # transformers is not there to be checked
    """The whole model, head included."""
