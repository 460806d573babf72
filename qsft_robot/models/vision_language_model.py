"""A pretrained vision-language model, such as LLaVA, as a policy over text and pictures.

The stream holds some tokens for each picture, at the place of its observation; the model puts what its vision tower
and projector make of the picture there. What comes before a picture does not depend on it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from torch import Tensor, nn

from qsft_robot.errors import ConfigurationError
from qsft_robot.models.language_model import LanguageModel, LanguageModelShape
from qsft_robot.models.pictures import Pictures
from qsft_robot.models.pretrained import load_vision_language_model


@dataclass(frozen=True)
class VisionLanguageShape(LanguageModelShape):
    """Everything that determines the parameters' shapes.

    Attributes:
        image: (H, W) of the pictures.
        picture: the tokens that stand for one of them.
        stream: `episode`, in which the observations of an episode follow one another, or `observation`.
        trained: parts of the model of which every network trains a whole copy, beside its adapter.
    """

    image: tuple[int, int] = (0, 0)
    picture: tuple[int, ...] = ()
    stream: str = "episode"
    trained: tuple[str, ...] = ()

    kind = "vision_language_model"

    def network(self) -> VisionLanguageModel:
        """A network of this shape: the pretrained model, as it was pretrained."""
        return VisionLanguageModel(self)

    def load(self) -> nn.Module:
        """The pretrained model; see `load_vision_language_model`."""
        return load_vision_language_model(self.source)

    @property
    def shared(self) -> tuple[Any, ...]:
        """What is the same for networks that share one frozen model."""
        return (*super().shared, self.trained)

    @property
    def pictures(self) -> Pictures:
        """How pictures come into its streams."""
        return Pictures(self.source, self.picture, self.stream == "episode")


class VisionLanguageModel(LanguageModel):
    """Logits of each token of each action, given the stream and the pictures before it.

    Its shape is a VisionLanguageShape. An observation holds, beside what a LanguageModel takes, the tensors that
    `Pictures.inputs` makes of all pictures of its streams, row by row. Adapters change the linear layers of the
    language tower.

    Raises:
        ConfigurationError: `trained` names a part that the model does not have.
    """

    def seen(self, observation: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """The numbers of the pictures, by the name of the model's argument."""
        return Pictures.given(observation)

    def adapted(self, base: Any) -> dict[str, Any]:
        """The linear layers of the language tower, and whole copies of the parts that are `trained`."""
        decoder = base.get_decoder()
        (tower,) = (path for path, module in base.named_modules() if module is decoder)
        parts = {path for path, _ in base.named_modules() if not f"{path}.".startswith(f"{tower}.")} - {"model"}
        trained = [self._part(each, parts) for each in getattr(self.shape, "trained", ())]
        return {
            "target_modules": "all-linear",
            "exclude_modules": rf"(?!{re.escape(tower)}\.).*|.*lm_head",
            "modules_to_save": trained or None,
        }

    def _part(self, name: str, parts: set[str]) -> str:
        """The path of the part that `trained` names, which is outside the language tower."""
        for path in (name, f"model.{name}"):
            if path in parts:
                return path
        known = sorted(each.removeprefix("model.") for each in parts if re.fullmatch(r"model\.\w+", each))
        raise ConfigurationError(
            f"model.trained={name}: model.source={self.shape.source} has no such part beside its language tower. There "
            f"are {', '.join(known)}"
        )
