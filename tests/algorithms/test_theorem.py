"""Theorem 4.1 of the Q-SFT paper on tabular problems: where its bounds hold, and the smallest case where one fails.

The claim: the minimiser p of the weighted cross-entropy of Eq. 3, with targets from max p/pi, satisfies
pi(a|s) Q*(s, a) <= p(a|s), and p(a|s) <= Q*(s, a) wherever Q*(s, a) >= 1/(|A| - 1).
"""

from __future__ import annotations

import numpy as np
import pytest

DISCOUNT = 0.95


def fixed_point(
    rewards: np.ndarray, transitions: np.ndarray, policy: np.ndarray, iterations: int = 400
) -> tuple[np.ndarray, np.ndarray]:
    """p (S, A) of Eq. 3 and Q* (S, A) for rewards (S, A), transitions (S, A, S; rows sum to at most 1), policy (S, A).

    What a row of `transitions` lacks to 1 is the probability of the end. Targets are clipped to [0, 1]: they weigh a
    cross-entropy.
    """
    actions = policy.shape[1]
    q = np.zeros_like(policy)
    weights = np.zeros_like(policy)
    p = policy
    for _ in range(iterations):
        q = rewards + DISCOUNT * transitions @ q.max(axis=1)
        rest = policy * (1.0 - weights)
        p = policy * weights + (rest.sum(axis=1, keepdims=True) - rest) / (actions - 1)
        weights = np.clip(rewards + DISCOUNT * transitions @ (p / policy).max(axis=1), 0.0, 1.0)
    return p, q


def random_problem(seed: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    generator = np.random.default_rng(seed)
    states, actions = generator.integers(2, 6), generator.integers(2, 6)
    transitions = generator.dirichlet(np.full(states + 1, 0.5), size=(states, actions))
    # A reward comes with the end only, so that returns stay in [0, 1].
    rewards = transitions[:, :, -1] * generator.random((states, actions))
    return rewards, transitions[:, :, :-1], generator.dirichlet(np.ones(actions), size=states)


@pytest.mark.parametrize("seed", range(60))
def test_the_lower_bound_holds(seed: int) -> None:
    rewards, transitions, policy = random_problem(seed)
    p, q = fixed_point(rewards, transitions, policy)
    np.testing.assert_allclose(p.sum(axis=1), 1.0)
    assert (p >= policy * q - 1e-9).all()


@pytest.mark.parametrize("seed", range(60))
def test_the_upper_bound_holds_where_nothing_is_bootstrapped(seed: int) -> None:
    rewards, transitions, policy = random_problem(seed)
    p, q = fixed_point(rewards, np.zeros_like(transitions), policy)
    claimed = q >= 1.0 / (policy.shape[1] - 1)
    assert (p[claimed] <= q[claimed] + 1e-9).all()


def test_the_upper_bound_fails_after_one_bootstrapped_step() -> None:
    """Two states, three actions. In state 1 a rare worthless action gets (1 - 0.6)/2 of the mass: its p/pi is 18."""
    rewards = np.array([[0.0, 0.0, 0.0], [0.6, 0.0, 0.0]])
    transitions = np.zeros((2, 3, 2))
    transitions[0, 0, 1] = 1.0
    policy = np.array([[0.98, 0.01, 0.01], [0.98, 0.01, 0.01]])
    p, q = fixed_point(rewards, transitions, policy)
    assert q[0, 0] == pytest.approx(DISCOUNT * 0.6) and q[0, 0] >= 1.0 / 2.0
    assert p[1, 1] / policy[1, 1] > 18
    assert p[0, 0] > q[0, 0] + 0.3
