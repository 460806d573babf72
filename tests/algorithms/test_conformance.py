"""What every algorithm has to do, over all of them: a new one is tested by being registered."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch

from qsft_robot.algorithms import ALGORITHMS, Algorithm, TokenBatch, ValueRange, make_algorithm
from qsft_robot.algorithms.cql import CQL
from qsft_robot.config import TrainConfig, load
from qsft_robot.tokenization import ActionTokenizer
from qsft_robot.training.policy_files import Policy, load_policy, save_policy
from tests.algorithms import tabular

ALL = sorted(ALGORITHMS)
VALUE_BASED = ["cql", "ilql", "q_transformer", "qsft"]
IMPROVING_ONCE = ["monte_carlo", "archer"]
"""Values, but not those of the best policy token by token."""
IMITATING = ["bc", "filtered_bc", "return_conditioned"]
TABULAR_OPTIONS = {
    "qsft": ["backup=max", "monte_carlo_mixture=0", "support_threshold=0"],
    # Pessimism moves every fixed point; these weights make it small on data that lack nothing.
    "cql": ["conservative_weight=0.0001"],
    "q_transformer": ["conservative_weight=0.0", "monte_carlo_bound=false"],
    "ilql": ["conservative_weight=0.0", "expectile=0.98"],
}


def make(kind: str, *options: str, seed: int = 0) -> Algorithm:
    torch.manual_seed(seed)
    words = [f"algorithm={kind}", f"algorithm.discount={tabular.DISCOUNT}", *(f"algorithm.{each}" for each in options)]
    if kind not in [*IMITATING, "monte_carlo"]:
        words.append("algorithm.target_rate=0.05")
    algorithm = make_algorithm(tabular.SHAPE, load(TrainConfig, ["sim=pick_place", *words]).algorithm, ValueRange())
    algorithm.observe_returns(np.array([0.0, 0.0, 1.0, 1.0]))
    algorithm.prepare_training(None)
    return algorithm


def train(algorithm: Algorithm, batch: TokenBatch, steps: int, learning_rate: float = 3e-3) -> list[float]:
    optimizer = torch.optim.Adam(algorithm.trained_parameters(), lr=learning_rate)
    losses = []
    for _ in range(steps):
        loss = algorithm.loss(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        algorithm.after_step()
        losses.append(float(loss.detach()))
    return losses


def good_batch() -> TokenBatch:
    """Episodes that succeeded went right; the others took other actions."""
    batch = tabular.all_transitions()
    success = (batch.tokens[:, 0] == 1).all(dim=1, keepdim=True).float()
    return dataclasses.replace(batch, monte_carlo_return=success, episode_return=success)


@pytest.mark.parametrize("kind", ALL)
def test_loss_falls_and_only_the_named_parts_are_trained(kind: str) -> None:
    algorithm = make(kind)
    before = {key: value.clone() for key, value in algorithm.networks.state_dict().items()}
    algorithm.after_step = lambda: None  # type: ignore[method-assign]  # towards targets that stand still
    losses = train(algorithm, good_batch(), 60)
    assert all(np.isfinite(losses)) and np.mean(losses[-5:]) < losses[0]
    changed = {
        key.split(".")[0]
        for key, value in algorithm.networks.state_dict().items()
        if not torch.equal(value, before[key])
    }
    assert changed == set(algorithm.networks) - ({"behaviour"} if algorithm.needs_behaviour_policy else set())


@pytest.mark.parametrize("kind", IMITATING)
def test_imitation_overfits_one_batch(kind: str) -> None:
    batch = good_batch()
    one_action_per_state = batch.tokens[:, 0].prod(dim=1).bool()
    chosen = TokenBatch(
        **{
            name: (
                {key: each[one_action_per_state] for key, each in value.items()}
                if isinstance(value, dict)
                else None
                if value is None
                else value[one_action_per_state]
            )
            for name, value in vars(batch).items()
        }
    )
    assert train(make(kind), chosen, 150)[-1] < 0.02


@pytest.mark.parametrize("kind", VALUE_BASED)
def test_values_reach_the_tabular_optimum(kind: str) -> None:
    algorithm = make(kind, *TABULAR_OPTIONS[kind])
    train(algorithm, tabular.all_transitions(), 1000)
    if "behaviour" in algorithm.networks:
        algorithm.network("behaviour").head_weight.data.zero_()
    q = np.zeros((tabular.STATES, 2, 2))
    states = {"state": torch.eye(tabular.STATES)[:, None]}
    with torch.no_grad():
        for first in (0, 1):
            tokens = torch.tensor([[first, 0]] * tabular.STATES)
            values = algorithm.values(algorithm.all_logits(states, tokens))
            assert values is not None
            q[:, first] = values[:, 1].numpy()
        first_tokens = algorithm.score(states, torch.zeros(tabular.STATES, 0, dtype=torch.int64)).argmax(dim=-1)
        second_tokens = algorithm.score(states, first_tokens[:, None]).argmax(dim=-1)
    np.testing.assert_allclose(q, tabular.optimal_values(), atol=0.08)
    assert first_tokens.tolist() == second_tokens.tolist() == [1] * tabular.STATES


@pytest.mark.parametrize("kind", ALL)
def test_an_action_of_one_token_is_as_likely_weighed_as_a_whole(kind: str) -> None:
    algorithm = make(kind)
    generator = torch.Generator().manual_seed(1)
    logits = {name: torch.randn(5, 2, count, generator=generator) for name, count in algorithm.outputs().items()}
    policy, added = algorithm.extract_whole(logits)
    whole = policy if added is None else policy.log_softmax(dim=-1) + added
    torch.testing.assert_close(whole.softmax(dim=-1), algorithm.extract(logits).softmax(dim=-1))


@pytest.mark.parametrize("kind", ALL)
def test_saving_and_loading_changes_nothing(kind: str, tmp_path: Path) -> None:
    algorithm = make(kind)
    train(algorithm, good_batch(), 3)
    tokenizer = ActionTokenizer.fit(np.array([[-1.0, -1.0], [1.0, 1.0]]), 2)
    save_policy(tmp_path / "policy", Policy(algorithm.eval(), tokenizer, {}, {}))
    loaded = load_policy(tmp_path).algorithm
    states = {"state": torch.eye(tabular.STATES)[:, None]}
    prefix = torch.ones(tabular.STATES, 1, dtype=torch.int64)
    with torch.no_grad():
        assert torch.equal(algorithm.score(states, prefix), loaded.score(states, prefix))


@pytest.mark.parametrize("kind", ALL)
def test_the_same_seed_gives_the_same_weights(kind: str) -> None:
    first, second, other = make(kind), make(kind), make(kind, seed=1)
    for algorithm in (first, second, other):
        train(algorithm, good_batch(), 5)
    weights = [algorithm.networks.state_dict() for algorithm in (first, second, other)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert any(not torch.equal(weights[0][key], weights[2][key]) for key in weights[0])


def after_three_steps(kind: str, change: Callable[[TokenBatch], None]) -> dict[str, torch.Tensor]:
    algorithm = make(kind)
    batch = good_batch()
    change(batch)
    train(algorithm, batch, 3)
    return algorithm.networks.state_dict()


@pytest.mark.parametrize("kind", VALUE_BASED)
def test_learning_depends_on_the_rewards(kind: str) -> None:
    before = after_three_steps(kind, lambda batch: None)
    after = after_three_steps(kind, lambda batch: batch.rewards.neg_().add_(1.0))
    assert any(not torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("kind", VALUE_BASED)
def test_what_follows_a_terminal_step_is_never_looked_at(kind: str) -> None:
    def scramble(batch: TokenBatch) -> None:
        state = batch.observations["state"]
        state[batch.terminal[:, 0], 1] = torch.tensor([9.0, -9.0, 9.0])

    before, after = after_three_steps(kind, lambda batch: None), after_three_steps(kind, scramble)
    assert all(torch.equal(before[key], after[key]) for key in before)


@pytest.mark.parametrize("kind", ALL)
def test_invalid_transitions_do_not_count(kind: str) -> None:
    def add_nonsense(batch: TokenBatch) -> None:
        batch.valid[0] = False
        batch.rewards[0] = 1.0
        batch.tokens[0] = 1

    def leave_out(batch: TokenBatch) -> None:
        batch.valid[0] = False

    before, after = after_three_steps(kind, leave_out), after_three_steps(kind, add_nonsense)
    for key in before:
        torch.testing.assert_close(before[key], after[key], rtol=1e-4, atol=1e-6)


def test_filtered_cloning_ignores_the_other_episodes() -> None:
    algorithm = make("filtered_bc")
    batch = good_batch()
    before = algorithm.loss(batch)["loss"]
    batch.tokens[batch.episode_return[:, 0] == 0] = 0
    torch.testing.assert_close(algorithm.loss(batch)["loss"], before)


def test_return_conditioning_separates_good_from_bad_actions() -> None:
    algorithm = make("return_conditioned")
    train(algorithm, good_batch(), 400)
    states = {"state": torch.eye(tabular.STATES)[:, None]}
    with torch.no_grad():
        first = algorithm.score(states, torch.zeros(tabular.STATES, 0, dtype=torch.int64)).softmax(dim=-1)
        algorithm.observe_returns(np.zeros(4))
        asked_for_nothing = algorithm.score(states, torch.zeros(tabular.STATES, 0, dtype=torch.int64)).softmax(dim=-1)
    assert (first[:, 1] > 0.9).all() and (asked_for_nothing[:, 1] < 0.6).all()


def test_n_step_targets_are_those_of_the_definition() -> None:
    from qsft_robot.algorithms.base import token_targets

    generator = torch.Generator().manual_seed(0)
    shape = (4, 5)
    batch = dataclasses.replace(
        tabular.all_transitions(),
        rewards=torch.rand(shape, generator=generator),
        terminal=torch.rand(shape, generator=generator) < 0.2,
        valid=torch.rand(shape, generator=generator) < 0.9,
    )
    values = torch.rand(4, 6, 2, generator=generator)
    for steps in (1, 2, 3, 9):
        targets = token_targets(batch, values, ValueRange(), 0.9, steps)
        torch.testing.assert_close(targets[:, :, 0], values[:, :-1, 1])
        for segment in range(4):
            for start in range(5):
                expected, factor, at = 0.0, 1.0, start
                for step in range(steps):
                    expected += factor * float(batch.rewards[segment, at])
                    factor *= 0.9
                    if batch.terminal[segment, at]:
                        factor = 0.0
                        break
                    at += 1
                    if at == 5 or not batch.valid[segment, at] or step == steps - 1:
                        break
                expected += factor * float(values[segment, at, 0]) if factor else 0.0
                assert float(targets[segment, start, 1]) == pytest.approx(expected, abs=1e-6)


def test_q_transformers_pessimism_costs_every_token_the_share_that_its_docstring_gives() -> None:
    pessimism, taken = 0.2, 0.5  # the uniform behaviour policy of two bins
    algorithm = make("q_transformer", f"conservative_weight={pessimism}", "monte_carlo_bound=false")
    train(algorithm, tabular.all_transitions(), 1000)
    states, right = {"state": torch.eye(tabular.STATES)[:, None]}, torch.ones(tabular.STATES, 2, dtype=torch.int64)
    with torch.no_grad():
        values = algorithm.values(algorithm.all_logits(states, right))
    assert values is not None
    kept = taken / (taken + pessimism * (1.0 - taken))
    backups = torch.arange(tabular.STATES - 1, -1, -1)
    expected = torch.stack([kept * kept**token * (tabular.DISCOUNT * kept**2) ** backups for token in (1, 0)], dim=-1)
    torch.testing.assert_close(values[..., 1], expected, atol=0.03, rtol=0.0)


def test_cql_pushes_down_what_its_own_policy_would_draw() -> None:
    algorithm = make("cql")
    assert isinstance(algorithm, CQL)
    generator = torch.Generator().manual_seed(0)
    q = torch.rand(3, 2, 2, generator=generator, requires_grad=True)
    chosen = torch.tensor([0, 1, 1]).view(3, 1, 1).expand(3, 2, 1)
    algorithm.conservative_loss(q, chosen).sum().backward()
    drawn = algorithm.extract({"value": q.detach()}).softmax(dim=-1)
    torch.testing.assert_close(q.grad, drawn - torch.nn.functional.one_hot(chosen[..., 0], 2))


def test_cql_backs_up_no_value_beyond_the_returns() -> None:
    algorithm = make("cql")
    assert isinstance(algorithm, CQL)
    batch = good_batch()
    values = torch.linspace(-4.0, 4.0, batch.valid.shape[0] * (batch.valid.shape[1] + 1) * 2)
    targets = algorithm.targets(batch, values.view(batch.valid.shape[0], -1, 2))
    assert targets.min() == 0.0 and targets.max() == 1.0
