"""The agent that decodes action tokens one after the other, from a checkpoint, for any body."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
import torch
from gymnasium.spaces import Text
from torch import Tensor

from qsft_robot.agents.base import DECODINGS, TEXT_DECODINGS, Agent, Observation
from qsft_robot.agents.legal import LegalTokens, legal_scores
from qsft_robot.agents.modes import nearest_mode
from qsft_robot.config import with_changes
from qsft_robot.errors import CheckpointError, ConfigurationError, DataError
from qsft_robot.models import LanguageModelShape, TransformerShape
from qsft_robot.models.pictures import Pictures
from qsft_robot.tokenization import ActionTokenizer, TextTokenizer, Tokenizer
from qsft_robot.training.policy_files import Policy, load_policy
from qsft_robot.training.text import Streams, padded_prompts, prompts, scored_actions, scored_alternatives

SHARP_TEMPERATURE = 0.2
"""Of `sharp` decoding. Greedy decoding never does what is likely soon but never likeliest now, such as closing the
hand: in the same state it decides the same for ever. Plain sampling adds the noise of every action dimension. At this
temperature a token half as likely as the likeliest one comes up once in 33 times."""


def decodings(tokenizer: Tokenizer) -> tuple[str, ...]:
    """The ways to decode a policy that acts by these tokens, its default last."""
    return TEXT_DECODINGS if isinstance(tokenizer, TextTokenizer) else DECODINGS


def default_temperature(decoding: str) -> float:
    """Of the draws, where nobody says another."""
    return SHARP_TEMPERATURE if decoding == "sharp" else 1.0


class EpisodeMemory:
    """What the agent remembers of one episode: encoded frames of each network, and a source of chance."""

    def __init__(self, networks: Sequence[str], history: int, seed: int) -> None:
        self.frames: dict[str, deque[Tensor]] = {name: deque(maxlen=history) for name in networks}
        self.chance = np.random.default_rng(seed)
        self.legal: tuple[str, ...] | None = None
        """Actions to choose among; None: any."""
        self.streams: Streams | None = None
        """What was seen and done, for a model that reads the episode so far."""
        self.pictures: list[np.ndarray] = []
        """What was seen with it."""
        self.taken: Counter[str] = Counter()
        """How often each text was the action."""

    def penalties(self, penalty: float) -> list[float]:
        """Of each legal action, `penalty` for each time that it was taken."""
        return [penalty * self.taken[each.strip()] for each in self.legal or ()]

    def append(self, name: str, frame: Tensor) -> Tensor:
        """Add the newest encoded frame (tokens, width) of network `name`; return the history (H, tokens, width)."""
        frames = self.frames[name]
        while len(frames) < (frames.maxlen or 1) - 1:
            frames.append(frame)  # before the episode's start the first frame stands repeated
        frames.append(frame)
        return torch.stack(list(frames))


class TokenAgent(Agent):
    """Acts by a trained policy. Each frame is encoded once; each action token costs one position of the transformer.

    Args:
        policy: what to act by.
        decoding: `greedy` takes the likeliest token, `sample` draws one, `sharp` draws one at `temperature`, and
            `mode`, for actions of numbers, goes from one drawn to the top of its hill (agents/modes.py). None: `mode`
            where actions are numbers, `sharp` where they are text.
        dtype: of the computation. With float64 rounding cannot tip a choice, so that what an episode does is the
            same however many are decoded in a batch; evaluation uses it. A pretrained language model stays as it is.
        legal_only: choose among the actions that the environment lists in `info["legal_actions"]`, where it lists
            any; for text.
        beta: weigh values by this, in units of the mapped return; None for what the policy was trained with.
        temperature: of the draws of `sharp` and `mode`; None for that of its training's evaluation, there 0.2 for
            `sharp` and 1 for `mode`.
        repetition_penalty: taken from the logarithm of a legal action's weight, before the temperature, for each time
            that the episode has it already. A policy that sees one observation at a time does not know that it goes
            round in circles. Unlike that of CTRL (Keskar et al. 2019) it is for actions, not for tokens, and grows
            with each time. What the policy rules out it does not bring back.

    Raises:
        ConfigurationError: there is no such decoding, beta, temperature or penalty, the policy's algorithm has no
            beta, there is a penalty without `legal_only`, or modes of text are asked for.
    """

    def __init__(
        self,
        policy: Policy,
        decoding: str | None = None,
        dtype: torch.dtype = torch.float32,
        legal_only: bool = False,
        beta: float | None = None,
        temperature: float | None = None,
        repetition_penalty: float = 0.0,
    ) -> None:
        possible = decodings(policy.tokenizer)
        if decoding is None:
            decoding = possible[-1]
        if decoding not in possible:
            why = "; 'mode' is for actions of numbers, whose tokens have an order" if decoding == "mode" else ""
            raise ConfigurationError(f"decoding must be one of {', '.join(possible)}, got '{decoding}'{why}")
        if temperature is None:
            temperature = policy.config.get("evaluation", {}).get("temperature") or default_temperature(decoding)
        if temperature <= 0:
            raise ConfigurationError(f"the temperature must be greater than 0, got {temperature:g}")
        if repetition_penalty < 0:
            raise ConfigurationError(f"the repetition_penalty must be at least 0, got {repetition_penalty:g}")
        if repetition_penalty and not legal_only:
            raise ConfigurationError(
                f"repetition_penalty={repetition_penalty:g} is for choosing among legal actions: set legal_only=true, "
                "or repetition_penalty=0"
            )
        self.policy = policy
        self.decoding = decoding
        pretrained = isinstance(policy.algorithm.shape, LanguageModelShape)
        self.algorithm = (policy.algorithm if pretrained else policy.algorithm.to(dtype)).eval()
        self.shape = self.algorithm.shape
        settings = self.algorithm.settings
        self.name = f"{settings.name or settings.kind}_{decoding}"
        if beta is not None:
            if not hasattr(settings, "beta"):
                raise ConfigurationError(
                    f"beta={beta:g} was given, but '{settings.kind}' has no values that a beta weighs"
                )
            self.algorithm.settings = with_changes(settings, {"beta": beta})
            self.name = f"{settings.name or settings.kind}_beta{beta:g}_{decoding}"
        self.legal_only = legal_only
        self._temperature = temperature
        self._repetition_penalty = repetition_penalty
        self._memory: EpisodeMemory | None = None

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        decoding: str | None = None,
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
        legal_only: bool = False,
        beta: float | None = None,
        temperature: float | None = None,
        repetition_penalty: float = 0.0,
    ) -> TokenAgent:
        """Read the agent from a run folder or a policy folder.

        Raises:
            CheckpointError: missing, damaged or of another version.
            ConfigurationError: as for the agent itself.
        """
        policy = load_policy(path, device)
        return cls(policy, decoding, dtype, legal_only, beta, temperature, repetition_penalty)

    def check_environment(self, env: Any) -> None:
        """Refuse an environment whose actions or observations this policy does not fit.

        Raises:
            CheckpointError: says what differs.
        """
        if isinstance(env.action_space, Text) != self.acts_by_text:
            raise CheckpointError(
                f"the checkpoint acts by {'text' if self.acts_by_text else 'numbers'}, this environment takes "
                f"{'text' if isinstance(env.action_space, Text) else 'numbers'}"
            )
        if self.acts_by_text:
            return
        actions, frames = env.action_space.shape, self._frames
        if actions != (frames.dimensions,):
            raise CheckpointError(
                f"the checkpoint acts with {frames.dimensions} numbers, this environment takes {actions}"
            )
        spaces = env.observation_space.spaces
        expected: dict[str, tuple[int, ...]] = {key: (*size, 3) for key, size in frames.images.items()}
        if frames.state_width:
            expected["state"] = (frames.state_width,)
        for key, shape in expected.items():
            found = spaces[key].shape if key in spaces else None
            if found != shape:
                raise CheckpointError(
                    f"the checkpoint needs observation '{key}' of shape {shape}, this environment gives {found}. "
                    "Use the sim= and options it was trained with"
                )

    def new_memory(self, seed: int) -> EpisodeMemory:
        """The empty memory of an episode; chance in it follows from `seed`."""
        history = 1 if self.acts_by_text else self._frames.history
        memory = EpisodeMemory(list(self.algorithm.networks), history, seed)
        if self._shown is not None and isinstance(self.policy.tokenizer, TextTokenizer):
            memory.streams = Streams(self.policy.tokenizer, self._context, pictures=self._shown)
        return memory

    def reset(self, seed: int) -> None:
        self._memory = self.new_memory(seed)

    def inform(self, info: Mapping[str, Any]) -> None:
        """Take from `info` what may be done, where that matters."""
        if self._memory is not None:
            self.inform_memory(self._memory, info)

    def inform_memory(self, memory: EpisodeMemory, info: Mapping[str, Any]) -> None:
        """Choose next among what `info` lists, where `legal_only` says so; among all words where that is None.

        Raises:
            ConfigurationError: the environment lists no actions.
        """
        if not self.legal_only:
            return
        if "legal_actions" not in info:
            raise ConfigurationError("evaluation.legal_only=true, but this environment does not list its legal actions")
        memory.legal = info["legal_actions"]

    @property
    def acts_by_text(self) -> bool:
        """Whether its actions are text."""
        return isinstance(self.policy.tokenizer, TextTokenizer)

    def act(self, observation: Observation) -> Any:
        """Return the action: (D,) float32, or a text."""
        if self._memory is None:
            raise RuntimeError("reset(seed) comes before the first act()")
        return self.act_batch([observation], [self._memory])[0]

    @torch.inference_mode()
    def act_batch(self, observations: Sequence[Observation], memories: Sequence[EpisodeMemory]) -> Any:
        """Return the actions, (N, D) float32 or N texts, for one new observation of each of N episodes.

        Raises:
            DataError: an observation lacks a key, has another shape, or is not finite.
        """
        pairs = list(zip(observations, memories, strict=True))
        weighed = [self._weighs_whole_actions and bool(memory.legal) for memory in memories]
        if any(weighed):
            others = [pair for pair, whole in zip(pairs, weighed, strict=True) if not whole]
            written = iter(self.act_batch(*zip(*others, strict=True)) if others else ())
            return [self._weigh(*pair) if whole else next(written) for pair, whole in zip(pairs, weighed, strict=True)]
        started = self._start(observations, memories)
        caches = {name: cache for name, (cache, _) in started.items()}
        logits = {name: first for name, (_, first) in started.items()}
        choices = LegalTokens.of(self.policy.tokenizer, memories, self._repetition_penalty)
        tokens: list[Tensor] = []
        for dimension in range(self.shape.dimensions):
            if dimension:
                for name, network in self.algorithm.networks.items():
                    logits[name] = network.step(caches[name], tokens[-1], dimension)
            policy = self.algorithm.extract(logits)
            if choices is not None:
                policy = choices.mask(policy)
            finished = None if choices is None else choices.finished
            token = self._choose(policy, memories, finished)
            if self.decoding == "mode":
                token = nearest_mode(policy, token, self._centres[dimension])
            tokens.append(token)
            if choices is not None and choices.advance(tokens[-1]):
                break
        actions = self.policy.tokenizer.decode(torch.stack(tokens, dim=1).cpu().numpy())
        if self.acts_by_text:
            for action, memory in zip(actions, memories, strict=True):
                memory.taken[action.strip()] += 1
                if memory.streams is not None:
                    memory.streams.act(action)
        return actions

    @property
    def _weighs_whole_actions(self) -> bool:
        """Whether legal actions of several tokens are compared as wholes.

        Token by token the likeliest beginning wins, `go to`, which twenty places share, over the likeliest action. A
        pretrained model writes token by token all the same: it would have to read its stream once for each action.
        """
        pretrained = isinstance(self.shape, LanguageModelShape)
        return self.acts_by_text and self.shape.dimensions > 1 and not pretrained

    def _weigh(self, observation: Observation, memory: EpisodeMemory) -> str:
        """One of the legal actions of an episode."""
        assert isinstance(self.policy.tokenizer, TextTokenizer) and memory.legal is not None
        legal, tokenizer = list(memory.legal), self.policy.tokenizer
        picture = None if self._picture is None else self._image(observation)
        inputs, tokens, lengths = scored_alternatives(
            tokenizer, self._text(observation), legal, self._context, self._device, picture
        )
        policy, added = self.algorithm.extract_whole(self.algorithm.all_logits(inputs, tokens))
        scores = legal_scores(policy, tokens, lengths.tolist())
        if added is not None:
            last = torch.from_numpy(lengths).to(self._device) - 1
            number = torch.arange(len(last), device=self._device)
            scores = scores + added[number, last, tokens[number, last]]
        scores = scores - scores.new_tensor(memory.penalties(self._repetition_penalty))
        action = legal[int(self._choose(scores[None], [memory]))]
        memory.taken[action.strip()] += 1
        return action

    def _start(
        self, observations: Sequence[Observation], memories: Sequence[EpisodeMemory]
    ) -> dict[str, tuple[Any, Tensor]]:
        """The cache of each network, and its logits (N, outputs) of the first token."""
        if isinstance(self.policy.tokenizer, TextTokenizer):
            texts = [self._text(observation) for observation in observations]
            if self._shown is not None:
                prompt = self._remembered(self.policy.tokenizer, texts, observations, memories, self._shown)
                return {name: network.start(prompt) for name, network in self.algorithm.networks.items()}
            prompt = prompts(self.policy.tokenizer, texts, self._context, self._device)
            if self._picture is not None:
                prompt["image"] = torch.from_numpy(np.stack([self._image(each) for each in observations]))
                prompt["image"] = prompt["image"].to(self._device)
            return {name: network.start(prompt) for name, network in self.algorithm.networks.items()}
        frames = self.algorithm.condition(self._stack(observations))
        started = {}
        for name, network in self.algorithm.networks.items():
            encoded = network.encode_frames(frames)
            history = torch.stack([memory.append(name, frame) for memory, frame in zip(memories, encoded, strict=True)])
            started[name] = network.start(network.join_frames(history))
        return started

    def _remembered(
        self,
        tokenizer: TextTokenizer,
        texts: Sequence[str],
        observations: Sequence[Observation],
        memories: Sequence[EpisodeMemory],
        shown: Pictures,
    ) -> dict[str, Tensor]:
        """What a network's `start` takes of N episodes so far, these new observations included."""
        rows, pictures = [], []
        for text, observation, memory in zip(texts, observations, memories, strict=True):
            assert memory.streams is not None
            memory.pictures.append(self._image(observation))
            memory.streams.see(text)
            rows.append(memory.streams.rows[-1])
            pictures += memory.pictures[memory.streams.begun[-1] :]
        return {**padded_prompts(tokenizer, rows, self._device), **shown.inputs(pictures, self._device)}

    @property
    def _shown(self) -> Pictures | None:
        """How pictures stand in the stream of a vision-language model; None for other models."""
        return getattr(self.shape, "pictures", None)

    @property
    def _picture(self) -> tuple[int, int] | None:
        """(H, W) of the picture that a model of text looks at, or None."""
        return getattr(self.shape, "image", None)

    def _image(self, observation: Observation) -> np.ndarray:
        assert self._picture is not None
        image, expected = observation.get("image"), (*self._picture, 3)
        if image is None or image.shape != expected:
            found = None if image is None else image.shape
            raise DataError(f"this policy needs observation 'image' of shape {expected}, got {found}")
        return image

    @staticmethod
    def _text(observation: Observation) -> str:
        if "text" not in observation:
            raise DataError("the observation has no 'text', which this policy needs")
        return str(observation["text"])

    @torch.inference_mode()
    def values(self, observations: Mapping[str, np.ndarray], actions: np.ndarray) -> np.ndarray | None:
        """Q (T, D) of every token of the actions (T, D) or (T,) taken in an episode's observations (T, ...).

        NaN where an action has no token. Returns None where the algorithm has no values.
        """
        if isinstance(self.policy.tokenizer, TextTokenizer):
            pictures = observations["image"] if self._picture is not None else None
            return self._text_values(observations["text"].tolist(), actions.tolist(), pictures)
        tokens = torch.from_numpy(self.policy.tokenizer.encode(actions)).to(self._device)
        indices = np.arange(len(actions))[:, None] + np.arange(1 - self._frames.history, 1)
        stacked = {key: torch.from_numpy(observations[key][indices.clip(0)]).to(self._device) for key in self._keys}
        logits = self.algorithm.all_logits(stacked, tokens)
        values = self.algorithm.values(logits)
        return None if values is None else values.gather(-1, tokens.unsqueeze(-1)).squeeze(-1).cpu().numpy()

    def _text_values(self, texts: list[str], actions: list[str], pictures: np.ndarray | None) -> np.ndarray | None:
        assert isinstance(self.policy.tokenizer, TextTokenizer)
        stacked, tokens, lengths = scored_actions(
            self.policy.tokenizer, texts, actions, self._context, self._device, pictures, self._shown
        )
        values = self.algorithm.values(self.algorithm.all_logits(stacked, tokens))
        if values is None:
            return None
        chosen = values.gather(-1, tokens.unsqueeze(-1)).squeeze(-1).double().cpu().numpy()
        return np.where(np.arange(chosen.shape[1]) < lengths[:, None], chosen, np.nan)

    @property
    def _frames(self) -> TransformerShape:
        """The shape, of a policy that acts by numbers."""
        assert isinstance(self.shape, TransformerShape)
        return self.shape

    @property
    def _context(self) -> int:
        """Most tokens of a stream, of a policy that acts by text."""
        assert not isinstance(self.shape, TransformerShape)
        return self.shape.context

    @cached_property
    def _centres(self) -> Tensor:
        """Values (D, bins) of the tokens, of a policy that acts by numbers."""
        assert isinstance(self.policy.tokenizer, ActionTokenizer)
        return torch.from_numpy(self.policy.tokenizer.centres).to(self._device)

    @property
    def _keys(self) -> list[str]:
        return [*self._frames.images, *(["state"] if self._frames.state_width else [])]

    @property
    def _device(self) -> torch.device:
        return next(self.algorithm.parameters()).device

    def _stack(self, observations: Sequence[Observation]) -> dict[str, Tensor]:
        frames, shape = {}, self._frames
        for key in self._keys:
            expected = (*shape.images[key], 3) if key in shape.images else (shape.state_width,)
            for observation in observations:
                if key not in observation:
                    raise DataError(f"the observation has no '{key}', which this policy needs")
                if observation[key].shape != expected:
                    raise DataError(f"observation '{key}' has shape {observation[key].shape}, expected {expected}")
            stacked = np.stack([observation[key] for observation in observations])
            if not np.isfinite(stacked).all():
                raise DataError(f"observation '{key}' holds NaN or infinity")
            frames[key] = torch.from_numpy(stacked).to(self._device)
        return frames

    def _choose(
        self, logits: Tensor, memories: Sequence[EpisodeMemory], finished: Sequence[bool] | None = None
    ) -> Tensor:
        """The next token (N,) of each episode.

        An action that is `finished` draws nothing: chance in an episode does not depend on how long the actions of the
        others in the batch are.
        """
        if self.decoding == "greedy":
            return logits.argmax(dim=-1)
        temperature = 1.0 if self.decoding == "sample" else self._temperature
        cumulative = (logits.double() / temperature).softmax(dim=-1).cumsum(dim=-1)
        done = finished if finished is not None else [False] * len(memories)
        draws = [0.0 if over else memory.chance.random() for memory, over in zip(memories, done, strict=True)]
        drawn = torch.tensor(draws, dtype=torch.float64).unsqueeze(-1)
        threshold = drawn.to(cumulative.device) * cumulative[:, -1:]
        return torch.searchsorted(cumulative, threshold, right=True).squeeze(-1).clamp_max(logits.shape[-1] - 1)
