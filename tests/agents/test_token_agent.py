"""Decoding: the cache changes nothing, batches change nothing, chance follows the seed, misfits are named."""

import dataclasses
from pathlib import Path
from types import SimpleNamespace

import gymnasium
import numpy as np
import pytest
import torch

from qsft_robot.agents.token_agent import TokenAgent
from qsft_robot.algorithms import ValueRange, make_algorithm
from qsft_robot.config import TrainConfig, load
from qsft_robot.errors import CheckpointError, ConfigurationError, DataError
from qsft_robot.models.robotics_transformer import TransformerShape
from qsft_robot.tokenization import ActionTokenizer
from qsft_robot.training.policy_files import Policy, load_policy, save_policy


def make_policy(history: int = 3, algorithm: str = "qsft") -> Policy:
    torch.manual_seed(0)
    shape = TransformerShape(
        images={"image": (16, 16)}, state_width=3, dimensions=4, bins=9, outputs=9,
        width=16, layers=2, heads=2, image_tokens=2, channels=(8, 8), history=history,
    )  # fmt: skip
    threshold = ["algorithm.support_threshold=0.01"] * (algorithm == "qsft")
    settings = load(TrainConfig, ["sim=pick_place", f"algorithm={algorithm}", *threshold]).algorithm
    learned = make_algorithm(shape, settings, ValueRange())
    for network in learned.networks.values():
        torch.nn.init.normal_(network.head_weight)
        torch.nn.init.normal_(network.action_embedding.weight)
    tokenizer = ActionTokenizer.fit(np.array([[-1.0] * 4, [1.0] * 4]), 9)
    return Policy(learned, tokenizer, {"sim": "pick_place"}, {})


def make_observations(count: int) -> list[dict[str, np.ndarray]]:
    generator = np.random.default_rng(0)
    return [
        {
            "image": generator.integers(0, 256, (16, 16, 3), dtype=np.uint8),
            "state": generator.normal(size=3).astype(np.float32),
        }
        for _ in range(count)
    ]


def greedy_without_cache(policy: Policy, observations: list[dict[str, np.ndarray]], step: int) -> list[int]:
    frames = [observations[max(0, index)] for index in range(step - policy.algorithm.shape.history + 1, step + 1)]
    stacked = {key: torch.from_numpy(np.stack([frame[key] for frame in frames]))[None] for key in frames[0]}
    tokens: list[int] = []
    with torch.no_grad():
        for _ in range(policy.algorithm.shape.dimensions):
            prefix = torch.tensor([tokens], dtype=torch.int64).reshape(1, len(tokens))
            tokens.append(int(policy.algorithm.score(stacked, prefix).argmax()))
    return tokens


@pytest.mark.parametrize("history", [1, 6])
def test_greedy_decoding_equals_decoding_without_cache(history: int) -> None:
    policy = make_policy(history)
    agent = TokenAgent(policy, "greedy", torch.float64)
    observations = make_observations(9)
    agent.reset(0)
    for step, observation in enumerate(observations):
        tokens = policy.tokenizer.encode(agent.act(observation))
        assert tokens.tolist() == greedy_without_cache(policy, observations, step)


def test_values_are_weighed_by_the_beta_that_is_asked_for():
    """Without weight, Q-SFT is the behaviour clone."""
    observations = make_observations(6)

    def actions(policy: Policy, beta: float | None) -> list[list[float]]:
        agent = TokenAgent(policy, "greedy", torch.float64, beta=beta)
        memories = [agent.new_memory(0) for _ in observations]
        return np.asarray(agent.act_batch(observations, memories)).tolist()

    policy = make_policy()
    cloned = make_policy()
    cloned.algorithm.settings = dataclasses.replace(cloned.algorithm.settings, beta=0.0, support_threshold=1e-9)
    policy.algorithm.settings = dataclasses.replace(policy.algorithm.settings, support_threshold=1e-9)
    trained, unweighed = actions(policy, None), actions(policy, 0.0)
    assert unweighed == actions(cloned, None)
    assert unweighed != trained


def test_sharp_decoding_at_a_temperature_near_zero_is_greedy():
    observations = make_observations(6)

    def actions(decoding: str, temperature: float | None, trained: float | None = None) -> list[list[float]]:
        policy = dataclasses.replace(make_policy(), config={"evaluation": {"temperature": trained}})
        agent = TokenAgent(policy, decoding, torch.float64, temperature=temperature)
        memories = [agent.new_memory(seed) for seed in range(len(observations))]
        return np.asarray(agent.act_batch(observations, memories)).tolist()

    assert actions("sharp", 1e-9) == actions("greedy", 1.0)
    assert actions("sharp", 1.0) == actions("sample", 1e-9)
    assert actions("sharp", 1.0) != actions("sharp", 0.2)
    assert actions("sharp", None) == actions("sharp", 0.2)
    assert actions("sharp", None, trained=1.0) == actions("sharp", 1.0)
    assert actions("mode", None) == actions("mode", 1.0) != actions("mode", 1e-9)
    assert actions("mode", None, trained=0.3) == actions("mode", 0.3)


def test_an_algorithm_without_values_refuses_beta():
    with pytest.raises(ConfigurationError, match="'bc' has no values"):
        TokenAgent(make_policy(algorithm="bc"), beta=3.0)


@pytest.mark.parametrize("wrong", [{"beta": -1.0}, {"temperature": 0.0}, {"repetition_penalty": -1.0}])
def test_impossible_weights_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(wrong))):
        TokenAgent(make_policy(), **wrong)


def test_a_repetition_penalty_needs_legal_actions() -> None:
    with pytest.raises(ConfigurationError, match="legal_only=true"):
        TokenAgent(make_policy(), repetition_penalty=0.5)


@pytest.mark.parametrize("decoding", ["greedy", "sample", "sharp", "mode"])
def test_an_episode_does_not_depend_on_what_is_decoded_beside_it(decoding: str) -> None:
    agent = TokenAgent(make_policy(), decoding, torch.float64)
    observations = make_observations(12)
    alone = []
    for episode in range(4):
        agent.reset(episode)
        alone.append([agent.act(observation) for observation in observations[episode::4]])
    memories = [agent.new_memory(episode) for episode in range(4)]
    for step in range(3):
        together = agent.act_batch(observations[4 * step : 4 * step + 4], memories)
        np.testing.assert_array_equal(together, [alone[episode][step] for episode in range(4)])


def test_sampling_follows_the_policy_and_the_seed() -> None:
    agent = TokenAgent(make_policy(1), "sample", torch.float64)
    observation = make_observations(1)[0]
    first, again = [agent.reset(5) or agent.act(observation) for _ in range(2)]
    np.testing.assert_array_equal(first, again)
    count = 4000
    actions = agent.act_batch([observation] * count, [agent.new_memory(seed) for seed in range(count)])
    drawn = np.bincount(agent.policy.tokenizer.encode(actions)[:, 0], minlength=9) / count
    stacked = {key: torch.from_numpy(value)[None, None] for key, value in observation.items()}
    with torch.no_grad():
        expected = agent.algorithm.score(stacked, torch.zeros(1, 0, dtype=torch.int64)).softmax(dim=-1)[0].numpy()
    np.testing.assert_allclose(drawn, expected, atol=0.04)


def test_a_saved_policy_acts_the_same(tmp_path: Path) -> None:
    policy = make_policy()
    observations = make_observations(5)
    save_policy(tmp_path / "policy", policy)
    before, after = TokenAgent(policy), TokenAgent.from_checkpoint(tmp_path)
    before.reset(0), after.reset(0)
    for observation in observations:
        np.testing.assert_array_equal(before.act(observation), after.act(observation))
    stacked = {key: np.stack([each[key] for each in observations]) for key in observations[0]}
    values = after.values(stacked, np.zeros((5, 4), dtype=np.float32))
    assert values is not None and values.shape == (5, 4) and ((values >= 0) & (values <= 1)).all()


def test_misfits_are_named(tmp_path: Path) -> None:
    agent = TokenAgent(make_policy())
    agent.reset(0)
    observation = make_observations(1)[0]
    with pytest.raises(DataError, match="'state'"):
        agent.act({"image": observation["image"]})
    with pytest.raises(DataError, match="NaN"):
        agent.act({**observation, "state": np.array([0, np.nan, 0], dtype=np.float32)})
    with pytest.raises(DataError, match="shape"):
        agent.act({**observation, "image": observation["image"][:8]})
    space = gymnasium.spaces.Dict({"state": gymnasium.spaces.Box(-1, 1, (3,))})
    with pytest.raises(CheckpointError, match="acts with 4 numbers"):
        agent.check_environment(
            SimpleNamespace(action_space=gymnasium.spaces.Box(-1, 1, (7,)), observation_space=space)
        )
    with pytest.raises(CheckpointError, match="'image'"):
        agent.check_environment(
            SimpleNamespace(action_space=gymnasium.spaces.Box(-1, 1, (4,)), observation_space=space)
        )
    with pytest.raises(CheckpointError, match="does not exist"):
        load_policy(tmp_path / "nowhere")
    save_policy(tmp_path / "policy", make_policy())
    weights = tmp_path / "policy" / "policy.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CheckpointError, match="damaged"):
        load_policy(tmp_path)
