"""LLaVA (Liu et al. 2023) around SmolLM2-135M: a pretrained language tower, and eyes that have seen nothing yet.

The vision tower, a SigLIP of two and a half million parameters, and the projector have random weights, the same in
every process. They are trained as a whole with whatever is trained of the language model.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

if TYPE_CHECKING:
    from transformers import LlavaConfig

PICTURE_SIZE, PATCH_SIZE = 96, 24
"""Pixels per side: pictures of other sizes are scaled. A patch is a token, which makes sixteen of a picture."""
PICTURE_TOKEN = "<image>"
SEED = 0


def build_model(language: nn.Module) -> nn.Module:
    """A LlavaForConditionalGeneration in float32 whose language tower has the weights of `language`.

    Args:
        language: a causal language model of transformers, which one more token is added to.
    """
    from transformers import LlavaForConditionalGeneration

    own: Any = language
    number = own.config.vocab_size
    own.resize_token_embeddings(number + 1, mean_resizing=False)
    with torch.random.fork_rng():
        torch.manual_seed(SEED)
        model = LlavaForConditionalGeneration(_configuration(own.config, number))
    model.model.language_model.load_state_dict(own.model.state_dict())
    if not own.config.tie_word_embeddings:
        model.lm_head.load_state_dict(own.lm_head.state_dict())
    return model.eval()


@cache
def build_processor(folder: str) -> Any:
    """A LlavaProcessor of that model, with the tokenizer in `folder`."""
    from transformers import AutoTokenizer, LlavaProcessor
    from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil

    tokenizer = AutoTokenizer.from_pretrained(folder)
    tokenizer.add_tokens([PICTURE_TOKEN], special_tokens=True)
    side = {"height": PICTURE_SIZE, "width": PICTURE_SIZE}
    scaled = CLIPImageProcessorPil(size=side, do_center_crop=False)
    return LlavaProcessor(
        scaled,
        tokenizer,
        patch_size=PATCH_SIZE,
        vision_feature_select_strategy="full",
        image_token=PICTURE_TOKEN,
        num_additional_image_tokens=0,
    )


def _configuration(language: Any, picture_token: int) -> LlavaConfig:
    from transformers import LlavaConfig, SiglipVisionConfig

    vision = SiglipVisionConfig(
        image_size=PICTURE_SIZE,
        patch_size=PATCH_SIZE,
        hidden_size=192,
        intermediate_size=768,
        num_hidden_layers=4,
        num_attention_heads=4,
        vision_use_head=False,
    )
    return LlavaConfig(
        vision_config=vision,
        text_config=language,
        image_token_index=picture_token,
        image_seq_length=(PICTURE_SIZE // PATCH_SIZE) ** 2,
        vision_feature_layer=-1,
        vision_feature_select_strategy="full",
        tie_word_embeddings=language.tie_word_embeddings,
    )
