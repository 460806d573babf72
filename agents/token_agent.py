"""The agent that decodes action tokens one after the other, from a checkpoint, for any body."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qsft_robot.agents.base import DECODINGS, Agent, Observation
from qsft_robot.errors import CheckpointError, ConfigurationError, DataError
from qsft_robot.training.policy_files import Policy, load_policy

SHARP_TEMPERATURE = 0.2
"""Of `sharp` decoding. Greedy decoding never does what is likely soon but never likeliest now, such as closing the
hand: in the same state it decides the same for ever. Plain sampling adds the noise of every action dimension. At this
temperature a token half as likely as the likeliest one comes up once in 33 times."""


class EpisodeMemory:
    """What the agent remembers of one episode: encoded frames of each network, and a source of chance."""

    def __init__(self, networks: Sequence[str], history: int, seed: int) -> None:
        self.frames: dict[str, deque[Tensor]] = {name: deque(maxlen=history) for name in networks}
        self.chance = np.random.default_rng(seed)

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
        decoding: `greedy` takes the likeliest token, `sample` draws one, `sharp` draws one at `SHARP_TEMPERATURE`.
        dtype: of the computation. With float64 rounding cannot tip a choice, so that what an episode does is the
            same however many are decoded in a batch; evaluation uses it.
    """

    def __init__(self, policy: Policy, decoding: str = "greedy", dtype: torch.dtype = torch.float32) -> None:
        if decoding not in DECODINGS:
            raise ConfigurationError(f"decoding must be one of {', '.join(DECODINGS)}, got '{decoding}'")
        self.policy = policy
        self.decoding = decoding
        self.algorithm = policy.algorithm.to(dtype).eval()
        self.shape = self.algorithm.shape
        self.name = f"{self.algorithm.settings.name or self.algorithm.settings.kind}_{decoding}"
        self._memory: EpisodeMemory | None = None

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        decoding: str = "greedy",
        dtype: torch.dtype = torch.float32,
        device: str | torch.device = "cpu",
    ) -> TokenAgent:
        """Read the agent from a run folder or a policy folder.

        Raises:
            CheckpointError: missing, damaged or of another version.
        """
        return cls(load_policy(path, device), decoding, dtype)

    def check_environment(self, env: Any) -> None:
        """Refuse an environment whose actions or observations this policy does not fit.

        Raises:
            CheckpointError: says what differs.
        """
        actions = env.action_space.shape
        if actions != (self.shape.dimensions,):
            raise CheckpointError(
                f"the checkpoint acts with {self.shape.dimensions} numbers, this environment takes {actions}"
            )
        spaces = env.observation_space.spaces
        expected: dict[str, tuple[int, ...]] = {key: (*size, 3) for key, size in self.shape.images.items()}
        if self.shape.state_width:
            expected["state"] = (self.shape.state_width,)
        for key, shape in expected.items():
            found = spaces[key].shape if key in spaces else None
            if found != shape:
                raise CheckpointError(
                    f"the checkpoint needs observation '{key}' of shape {shape}, this environment gives {found}. "
                    "Use the sim= and options it was trained with"
                )

    def new_memory(self, seed: int) -> EpisodeMemory:
        """The empty memory of an episode; chance in it follows from `seed`."""
        return EpisodeMemory(list(self.algorithm.networks), self.shape.history, seed)

    def reset(self, seed: int) -> None:
        self._memory = self.new_memory(seed)

    def act(self, observation: Observation) -> np.ndarray:
        """Return the action (D,) float32."""
        if self._memory is None:
            raise RuntimeError("reset(seed) comes before the first act()")
        return self.act_batch([observation], [self._memory])[0]

    @torch.inference_mode()
    def act_batch(self, observations: Sequence[Observation], memories: Sequence[EpisodeMemory]) -> np.ndarray:
        """Return the actions (N, D) float32 for one new observation of each of N episodes.

        Raises:
            DataError: an observation lacks a key, has another shape, or is not finite.
        """
        frames = self.algorithm.condition(self._stack(observations))
        started = {}
        for name, network in self.algorithm.networks.items():
            encoded = network.encode_frames(frames)
            history = torch.stack([memory.append(name, frame) for memory, frame in zip(memories, encoded, strict=True)])
            started[name] = network.start(network.join_frames(history))
        caches = {name: cache for name, (cache, _) in started.items()}
        logits = {name: first for name, (_, first) in started.items()}
        tokens: list[Tensor] = []
        for dimension in range(self.shape.dimensions):
            if dimension:
                for name, network in self.algorithm.networks.items():
                    logits[name] = network.step(caches[name], tokens[-1], dimension)
            tokens.append(self._choose(self.algorithm.extract(logits), memories))
        return self.policy.tokenizer.decode(torch.stack(tokens, dim=1).cpu().numpy())

    @torch.inference_mode()
    def values(self, observations: Mapping[str, np.ndarray], actions: np.ndarray) -> np.ndarray | None:
        """Q (T, D) of every token of the actions (T, D) taken in an episode's observations (T, ...).

        Returns None where the algorithm has no values.
        """
        tokens = torch.from_numpy(self.policy.tokenizer.encode(actions)).to(self._device)
        indices = np.arange(len(actions))[:, None] + np.arange(1 - self.shape.history, 1)
        stacked = {key: torch.from_numpy(observations[key][indices.clip(0)]).to(self._device) for key in self._keys}
        logits = self.algorithm.all_logits(stacked, tokens)
        values = self.algorithm.values(logits)
        return None if values is None else values.gather(-1, tokens.unsqueeze(-1)).squeeze(-1).cpu().numpy()

    @property
    def _keys(self) -> list[str]:
        return [*self.shape.images, *(["state"] if self.shape.state_width else [])]

    @property
    def _device(self) -> torch.device:
        return next(self.algorithm.parameters()).device

    def _stack(self, observations: Sequence[Observation]) -> dict[str, Tensor]:
        frames = {}
        for key in self._keys:
            expected = (*self.shape.images[key], 3) if key in self.shape.images else (self.shape.state_width,)
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

    def _choose(self, logits: Tensor, memories: Sequence[EpisodeMemory]) -> Tensor:
        if self.decoding == "greedy":
            return logits.argmax(dim=-1)
        temperature = SHARP_TEMPERATURE if self.decoding == "sharp" else 1.0
        cumulative = (logits.double() / temperature).softmax(dim=-1).cumsum(dim=-1)
        drawn = torch.tensor([[memory.chance.random()] for memory in memories], dtype=torch.float64)
        threshold = drawn.to(cumulative.device) * cumulative[:, -1:]
        return torch.searchsorted(cumulative, threshold, right=True).squeeze(-1).clamp_max(logits.shape[-1] - 1)
