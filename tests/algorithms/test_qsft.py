"""Q-SFT against tabular solutions, closed forms, and its own definition."""

import dataclasses
import math

import numpy as np
import pytest
import torch

from qsft_robot.algorithms import ValueRange
from qsft_robot.algorithms.qsft import QSFT
from qsft_robot.config import TrainConfig, load
from qsft_robot.config.algorithms import QsftConfig
from qsft_robot.errors import ConfigurationError, DataError
from tests.algorithms import tabular


def fit(algorithm: QSFT, steps: int, learning_rate: float = 3e-3, reward_scale: float = 1.0) -> dict[str, torch.Tensor]:
    batch = tabular.all_transitions()
    batch = dataclasses.replace(batch, rewards=reward_scale * batch.rewards)
    algorithm.prepare_training(None)
    optimizer = torch.optim.Adam(algorithm.trained_parameters(), lr=learning_rate)
    for _ in range(steps):
        terms = algorithm.loss(batch)
        optimizer.zero_grad()
        terms["loss"].backward()
        optimizer.step()
        algorithm.after_step()
    return terms


def learned_values(algorithm: QSFT) -> np.ndarray:
    """Q (STATES, 2, 2) of the second token given the first, under the uniform behaviour policy."""
    network = algorithm.networks["likelihood"]
    q = np.zeros((tabular.STATES, 2, 2))
    states = torch.eye(tabular.STATES)[:, None]
    with torch.no_grad():
        for first in (0, 1):
            tokens = torch.tensor([[first, 0]] * tabular.STATES)
            logits = network(network.encode({"state": states}), tokens)[:, 1]
            q[:, first] = algorithm.likelihood(logits, torch.full((tabular.STATES, 2), math.log(0.5)))[2].numpy()
    return q


@pytest.mark.parametrize(
    ("parameterisation", "leftover"), [("residual", "dummy"), ("residual", "dummies"), ("direct", "dummy")]
)
def test_max_backup_reaches_the_optimal_values(parameterisation: str, leftover: str) -> None:
    torch.manual_seed(0)
    settings = tabular.qsft_settings(parameterisation=parameterisation, leftover=leftover)
    algorithm = QSFT(tabular.SHAPE, settings, ValueRange())
    fit(algorithm, 1000)
    np.testing.assert_allclose(learned_values(algorithm), tabular.optimal_values(), atol=0.06)


def test_a_beta_from_the_spread_of_values_does_not_depend_on_the_size_of_rewards() -> None:
    betas, values = [], []
    for scale in (1.0, 0.3):
        torch.manual_seed(0)
        settings = tabular.qsft_settings(backup="soft", beta=1.0, beta_spread=0.4, support_threshold=0.0)
        algorithm = QSFT(tabular.SHAPE, settings, ValueRange())
        fit(algorithm, 1000, reward_scale=scale)
        assert float(algorithm.beta()) == pytest.approx(0.4 / float(algorithm.spread))
        algorithm.finish_training()
        assert algorithm.settings.beta_spread is None
        betas.append(algorithm.settings.beta)
        values.append(learned_values(algorithm) / scale)
    assert betas[0] > 1.5 and betas[1] == pytest.approx(betas[0] / 0.3, rel=0.1)
    np.testing.assert_allclose(values[1], values[0], atol=0.06)


@pytest.mark.parametrize("temperature", [1.0, 0.4])
def test_soft_backup_values_are_those_of_the_extracted_policy_at_a_temperature(temperature: float) -> None:
    torch.manual_seed(0)
    beta = 3.0
    settings = tabular.qsft_settings(backup="soft", beta=beta, backup_temperature=temperature)
    algorithm = QSFT(tabular.SHAPE, settings, ValueRange())
    fit(algorithm, 1000)
    # The fixed point by iteration: first-token values from second-token values, both softly.
    q = np.zeros((tabular.STATES, 2, 2))
    for _ in range(500):
        second = np.exp(beta * q / temperature)
        first_value = (second * q).sum(axis=2) / second.sum(axis=2)
        first = np.exp(beta * first_value / temperature)
        value = (first * first_value).sum(axis=1) / first.sum(axis=1)
        q[:, 0, 1] = q[:, 1, 0] = tabular.DISCOUNT * value
        q[:, 1, 1] = [*(tabular.DISCOUNT * value[1:]), 1.0]
    np.testing.assert_allclose(learned_values(algorithm), q, atol=0.06)


def test_the_greedy_policy_is_optimal() -> None:
    torch.manual_seed(0)
    algorithm = QSFT(tabular.SHAPE, tabular.qsft_settings(), ValueRange())
    fit(algorithm, 600)
    torch.nn.init.zeros_(algorithm.networks["behaviour"].head_weight)
    observation = {"state": torch.eye(tabular.STATES)[:, None]}
    with torch.no_grad():
        first = algorithm.score(observation, torch.zeros(tabular.STATES, 0, dtype=torch.int64)).argmax(dim=-1)
        second = algorithm.score(observation, first[:, None]).argmax(dim=-1)
    assert first.tolist() == [1, 1, 1] and second.tolist() == [1, 1, 1]


@pytest.mark.parametrize(
    ("parameterisation", "leftover"),
    [("residual", "dummy"), ("residual", "dummies"), ("direct", "dummy"), ("direct", "uniform")],
)
def test_likelihood_is_a_distribution_and_the_loss_is_the_weighted_cross_entropy(
    parameterisation: str, leftover: str
) -> None:
    torch.manual_seed(1)
    settings = tabular.qsft_settings(parameterisation=parameterisation, leftover=leftover)
    algorithm = QSFT(tabular.SHAPE, settings, ValueRange())
    algorithm.prepare_training(None)
    batch = tabular.all_transitions()
    network = algorithm.networks["likelihood"]
    observations, tokens = batch.current()
    assert batch.behaviour_logits is not None
    log_pi = batch.behaviour_logits[:, 0].log_softmax(dim=-1)
    with torch.no_grad():
        logits = network(network.encode(observations), tokens)
        log_p, dummy, q = algorithm.likelihood(logits, log_pi)
        left = 0.0 if dummy is None else dummy.exp().sum(dim=-1) if leftover == "dummies" else dummy.exp()
        total = log_p.exp().sum(dim=-1) + left
        torch.testing.assert_close(total, torch.ones_like(total))
        assert ((q >= 0) & (q <= 1)).all()
        weights = algorithm.weights(batch)[:, 0]
        expected = []
        for row in range(len(tokens)):
            for position in range(2):
                chosen, weight = tokens[row, position], weights[row, position]
                rest = log_p[row, position, 1 - chosen] if dummy is None else dummy[row, position]
                rest = rest[chosen] if leftover == "dummies" else rest
                expected.append(-(weight * log_p[row, position, chosen] + (1 - weight) * rest))
        torch.testing.assert_close(algorithm.loss(batch)["loss"], torch.stack(expected).mean())


def test_terminal_states_have_no_future_and_rewards_matter() -> None:
    algorithm = QSFT(tabular.SHAPE, tabular.qsft_settings(initial_value=0.5), ValueRange())
    algorithm.prepare_training(None)
    batch = tabular.all_transitions()
    last = algorithm.weights(batch)[:, 0, -1]
    torch.testing.assert_close(last[batch.terminal[:, 0]], batch.rewards[batch.terminal])
    torch.testing.assert_close(last[~batch.terminal[:, 0]], torch.full((8,), tabular.DISCOUNT * 0.5))


def test_monte_carlo_mixture_is_a_weighted_mean() -> None:
    batch = tabular.all_transitions()
    batch.monte_carlo_return.fill_(0.6)
    weights = []
    for mixture in (0.0, 0.25, 1.0):
        algorithm = QSFT(tabular.SHAPE, tabular.qsft_settings(monte_carlo_mixture=mixture), ValueRange())
        algorithm.prepare_training(None)
        weights.append(algorithm.weights(batch))
    torch.testing.assert_close(weights[1], 0.75 * weights[0] + 0.25 * weights[2])
    assert (weights[2] == 0.6).all()


def test_invalid_transitions_do_not_count() -> None:
    algorithm = QSFT(tabular.SHAPE, tabular.qsft_settings(), ValueRange())
    algorithm.prepare_training(None)
    batch = tabular.all_transitions(copies=2)
    once = algorithm.loss(tabular.all_transitions())["loss"]
    batch.valid[len(batch.valid) // 2 :] = False
    batch.rewards[len(batch.valid) // 2 :] = 1.0
    torch.testing.assert_close(algorithm.loss(batch)["loss"], once)


def test_tokens_outside_the_support_are_never_chosen_and_never_backed_up() -> None:
    algorithm = QSFT(tabular.SHAPE, tabular.qsft_settings(support_threshold=0.1, backup="max"), ValueRange())
    log_pi = torch.tensor([[0.99, 0.01]]).log()
    logits = torch.tensor([[-2.0, 9.0]])
    torch.testing.assert_close(algorithm.state_value(logits, log_pi), torch.sigmoid(torch.tensor([-2.0])))
    policy = algorithm.extract({"behaviour": log_pi, "likelihood": logits})
    assert policy[0, 1] == -torch.inf and torch.isfinite(policy[0, 0])


def test_residual_with_uniform_leftover_is_refused() -> None:
    with pytest.raises(ConfigurationError, match="leftover=dummies"):
        QSFT(tabular.SHAPE, QsftConfig(kind="qsft", leftover="uniform"), ValueRange())


def test_a_dummy_for_each_token_takes_the_residual_form() -> None:
    with pytest.raises(ConfigurationError, match="parameterisation=residual"):
        QSFT(tabular.SHAPE, QsftConfig(kind="qsft", parameterisation="direct"), ValueRange())


def test_values_do_not_depend_on_how_well_pi_phi_knows_what_was_done() -> None:
    # One state, one logged action that pi_phi gives a tenth: its value is w with a dummy of its own, and is pushed to
    # w / 0.1, cut off at 1, with one dummy for all.
    log_pi, weight = torch.tensor([0.1, 0.9]).log(), 0.3
    found = {}
    for leftover in ("dummy", "dummies"):
        algorithm = QSFT(tabular.SHAPE, tabular.qsft_settings(leftover=leftover), ValueRange())
        logits = torch.zeros(2, requires_grad=True)
        optimizer = torch.optim.Adam([logits], lr=0.05)
        for _ in range(500):
            log_p, rest, q = algorithm.likelihood(logits, log_pi)
            loss = -(weight * log_p[0] + (1 - weight) * (rest[0] if leftover == "dummies" else rest))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        found[leftover] = float(q[0].detach())
    assert found["dummies"] == pytest.approx(weight, abs=0.01)
    assert found["dummy"] > 0.95


def test_value_range_is_exact_for_negative_returns() -> None:
    rewards, discount = np.array([-1.0, -1.0, -2.0, 0.5]), 0.9
    returns = np.zeros(5)
    for step in reversed(range(4)):
        returns[step] = rewards[step] + discount * returns[step + 1]
    value_range = ValueRange(-6.0, 1.0)
    changed = value_range.terminal_value
    for step in reversed(range(4)):
        changed = float(value_range.reward(torch.tensor(rewards[step]), discount)) + discount * changed
        assert changed == pytest.approx(float(value_range.value(torch.tensor(returns[step]))))
        assert float(value_range.original(torch.tensor(changed))) == pytest.approx(returns[step])
    assert ValueRange.of_returns(np.array([0.0, 0.3, 1.0])) == ValueRange(0.0, 1.0)
    assert ValueRange.of_returns(np.array([-5.0, -1.0])) == ValueRange(-5.0, 0.0)
    with pytest.raises(DataError):
        ValueRange.of_returns(np.array([np.nan]))


def test_the_paper_variant_is_equation_3_and_algorithm_1() -> None:
    torch.manual_seed(0)
    settings = load(TrainConfig, ["sim=pick_place", "algorithm.variant=paper"]).algorithm
    algorithm = QSFT(tabular.SHAPE, settings, ValueRange())
    algorithm.prepare_training(None)
    batch = tabular.all_transitions()
    observations, tokens = batch.current()
    network = algorithm.network("likelihood")
    with torch.no_grad():
        p = network(network.encode(observations), tokens).softmax(dim=-1)
        # The target network still equals theta: V(s') = max_a p(a|s') / pi(a|s'), at most 1, nothing after the end.
        ratio = (p / 0.5).clamp_max(1.0)
        following = network(network.encode({"state": batch.observations["state"][:, 1]}), tokens * 0).softmax(dim=-1)
        value_after = settings.discount * (following[:, 0] / 0.5).clamp_max(1.0).amax(dim=-1)
        last = torch.where(batch.terminal[:, 0], batch.rewards[:, 0], value_after)
        weights = torch.stack([ratio[:, 1].amax(dim=-1), last], dim=1)
        torch.testing.assert_close(algorithm.weights(batch)[:, 0], weights)
        chosen = p.gather(-1, tokens.unsqueeze(-1)).squeeze(-1)
        expected = -(weights * chosen.log() + (1 - weights) * (1 - chosen).log())
        torch.testing.assert_close(algorithm.loss(batch)["loss"], expected.mean())
        policy = algorithm.extract({"behaviour": torch.zeros_like(p), "likelihood": p.log()})
        torch.testing.assert_close(policy.softmax(dim=-1), (0.5 * (settings.beta * p).exp()).log().softmax(dim=-1))
