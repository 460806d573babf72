"""Why a run is good or bad: figures on held-out episodes after training, with advice where one is out of range.

Returns and Q are in [0, 1] units here (ValueRange), so that the limits below hold for every task. An algorithm
without a behaviour policy, or without Q, gets the figures that apply to it.
"""

from __future__ import annotations

import logging
import math
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from qsft_robot.algorithms.base import Algorithm, TokenBatch, standard_deviation
from qsft_robot.algorithms.bc import BehaviourCloning
from qsft_robot.training.advice import SATURATED, advice_on

logger = logging.getLogger(__name__)

CALIBRATION_BINS = 10
"""Bins of the reliability curve, equally filled: most Q of a sparse reward lie close together."""
DEFAULT_SUPPORT = 0.01
"""Share of the likeliest token's probability that counts as support where the algorithm names none of its own."""


def diagnose(algorithm: Algorithm, held_out: Iterable[TokenBatch], training: Iterable[TokenBatch]) -> dict[str, Any]:
    """Examine a trained algorithm on batches of held-out episodes and, for comparison, of training episodes.

    Returns:
        JSON-ready figures, absent where they do not apply:

        - `transitions`: how many held-out ones were examined;
        - `behaviour_nll`, `behaviour_nll_training`: negative log-likelihood of the logged tokens under the behaviour
          policy (of imitation: under the policy, on the episodes that it imitates), nats per token;
        - `marginal_nll`: the same of guessing each token by its frequency, without looking at the observation;
        - `out_of_support`, `actions_out_of_support`: share of logged tokens, and of logged actions with at least one
          such token, whose probability under pi is below `support_threshold` times that of the likeliest;
        - `q_mean`, `return_mean`: of the logged tokens, and the Monte-Carlo returns that followed;
        - `calibration_error`, `calibration_bias`: mean of |Q - return| over the curve, and of Q - return;
        - `calibration_curve`: `q`, `return` and `count` of each bin, rising in Q;
        - `return_correlation`: between Q and return; null where one of them is constant;
        - `saturation`, `saturation_of_returns`: share of logged tokens with Q, or return, above 0.95;
        - `advantage_spread`: standard deviation of Q under pi, mean over states and tokens;
        - `policy_divergence`: KL(policy that acts || pi), nats per token;
        - `advice`: figure -> one sentence, for each that is out of range.
    """
    was_training = algorithm.training
    algorithm.eval()
    try:
        with torch.inference_mode():
            figures = _figures(algorithm, held_out, training)
    finally:
        algorithm.train(was_training)
    figures["advice"] = advice_on(figures, algorithm.settings, algorithm.shape.bins)
    return figures


def calibration(q: np.ndarray, returns: np.ndarray, bins: int = CALIBRATION_BINS) -> dict[str, Any]:
    """Reliability of Q (N,) as a prediction of the returns (N,).

    Returns:
        `calibration_curve` over equally filled bins of Q (fewer where values repeat), `calibration_error` (mean over
        the N of the bin's |mean Q - mean return|), `calibration_bias`, `q_mean`, `return_mean`, `return_correlation`.
    """
    edges = np.unique(np.quantile(q, np.linspace(0.0, 1.0, bins + 1)[1:-1]))
    index = np.searchsorted(edges, q, side="right")
    present, index = np.unique(index, return_inverse=True)
    count = np.bincount(index, minlength=len(present))
    mean_q = np.bincount(index, q, len(present)) / count
    mean_return = np.bincount(index, returns, len(present)) / count
    constant = np.ptp(q) < 1e-9 or np.ptp(returns) < 1e-9
    return {
        "q_mean": float(q.mean()),
        "return_mean": float(returns.mean()),
        "calibration_error": float((count * np.abs(mean_q - mean_return)).sum() / count.sum()),
        "calibration_bias": float(q.mean() - returns.mean()),
        "return_correlation": None if constant else float(np.corrcoef(q, returns)[0, 1]),
        "calibration_curve": {"q": mean_q.tolist(), "return": mean_return.tolist(), "count": count.tolist()},
    }


def log_advice(figures: dict[str, Any]) -> None:
    """One line of log for each figure that is out of range."""
    for name, sentence in figures["advice"].items():
        logger.warning("%s = %.3g: %s", name, figures[name], sentence)


def write_tensorboard(folder: Path, figures: dict[str, Any], step: int) -> None:
    """Write the figures, the curve and the advice to `<folder>/tensorboard/diagnostics`, in place of earlier ones."""
    from torch.utils.tensorboard import SummaryWriter

    target = folder / "tensorboard" / "diagnostics"
    shutil.rmtree(target, ignore_errors=True)
    with SummaryWriter(str(target)) as writer:
        for name, value in figures.items():
            if isinstance(value, (int, float)) and math.isfinite(value):
                writer.add_scalar(f"diagnostics/{name}", value, step)
        curve = figures.get("calibration_curve")
        if curve is not None:
            rows = [f"|{q:.3f}|{value:.3f}|{count}|" for q, value, count in zip(*curve.values(), strict=True)]
            table = "\n".join(["|Q|return|tokens|", "|---|---|---|", *rows])
            writer.add_text("diagnostics/calibration_curve", table, step)
        lines = [f"- **{name}**: {sentence}" for name, sentence in figures["advice"].items()]
        writer.add_text("diagnostics/advice", "\n".join(lines) or "Every figure is in range.", step)


def _figures(algorithm: Algorithm, held_out: Iterable[TokenBatch], training: Iterable[TokenBatch]) -> dict[str, Any]:
    seen = _Samples()
    counts = torch.ones(algorithm.shape.dimensions, algorithm.shape.bins, dtype=torch.float64)
    if "behaviour" in algorithm.networks:
        for batch in training:
            losses, kept = _behaviour_losses(algorithm, batch, _behaviour_logits(algorithm, batch))
            seen.add("behaviour_nll_training", losses, kept)
            logged, real = batch.tokens[:, :-1].flatten(0, 1), _real(batch).flatten(0, 1)
            for dimension, (column, here) in enumerate(zip(logged.T, real.T, strict=True)):
                counts[dimension] += torch.bincount(column[here], minlength=counts.shape[1]).cpu()
    frequencies = (counts / counts.sum(dim=1, keepdim=True)).log()
    transitions = 0
    for batch in held_out:
        transitions += int(batch.valid.sum())
        if isinstance(algorithm, BehaviourCloning):
            logits = {"behaviour": _behaviour_logits(algorithm, batch)}
        else:
            logits = {name: value.float() for name, value in algorithm.all_logits(*batch.current()).items()}
        if "behaviour" in logits:
            seen.add("behaviour_nll", *_behaviour_losses(algorithm, batch, logits["behaviour"]))
            logged = batch.tokens[:, :-1].cpu()
            seen.add("marginal_nll", -frequencies[torch.arange(len(frequencies)), logged], _real(batch))
        _examine_values(algorithm, batch, logits, seen)
    figures: dict[str, Any] = {"transitions": transitions}
    q, returns = seen.pop("q"), seen.pop("returns")
    if len(q):
        figures |= calibration(q, returns)
        figures["saturation"] = float((q > SATURATED).mean())
        figures["saturation_of_returns"] = float((returns > SATURATED).mean())
    return {**figures, **seen.means()}


def _behaviour_logits(algorithm: Algorithm, batch: TokenBatch) -> Tensor:
    """Logits (S * L, D, bins) of the behaviour policy for the logged tokens."""
    if isinstance(algorithm, BehaviourCloning):
        return algorithm.logits(batch).float()
    observations, tokens = batch.current()
    network = algorithm.network("behaviour")
    return network(network.encode(observations), tokens).float()


def _behaviour_losses(algorithm: Algorithm, batch: TokenBatch, logits: Tensor) -> tuple[Tensor, Tensor]:
    """Negative log-likelihood (S, L, D) of the logged tokens, and which of them count."""
    losses = -logits.log_softmax(dim=-1).gather(-1, batch.current()[1].unsqueeze(-1)).squeeze(-1)
    # Filtered cloning is asked only about the episodes that it imitates.
    threshold = getattr(algorithm, "threshold", -math.inf)
    return losses.view(*batch.valid.shape, -1), _real(batch) & (batch.episode_return >= threshold).unsqueeze(-1)


def _examine_values(algorithm: Algorithm, batch: TokenBatch, logits: dict[str, Tensor], seen: _Samples) -> None:
    """Everything about Q, and about the policy that follows from it."""
    values = algorithm.values(logits)
    if values is None:
        return
    tokens, valid = batch.tokens[:, :-1], _real(batch)
    transitions = batch.valid.shape
    chosen = tokens.unsqueeze(-1)
    q = algorithm.value_range.value(values).unflatten(0, transitions)
    returns = algorithm.value_range.value(batch.monte_carlo_return)
    seen.add("q", q.gather(-1, chosen).squeeze(-1), valid)
    seen.add("returns", returns.unsqueeze(-1).expand(tokens.shape), valid)
    if "behaviour" not in logits:
        return
    threshold = getattr(algorithm.settings, "support_threshold", 0.0) or DEFAULT_SUPPORT
    log_pi = logits["behaviour"].log_softmax(dim=-1).unflatten(0, transitions)
    pi = log_pi.exp()
    outside = log_pi.gather(-1, chosen).squeeze(-1) < log_pi.amax(dim=-1) + math.log(threshold)
    seen.add("out_of_support", outside, valid)
    seen.add("actions_out_of_support", (outside & valid).any(dim=-1), batch.valid)
    seen.add("advantage_spread", standard_deviation(q, pi), valid)
    log_policy = algorithm.extract(logits).log_softmax(dim=-1).unflatten(0, transitions)
    # Tokens that the policy never takes contribute nothing: 0 log 0 = 0.
    terms = (log_policy.exp() * (log_policy - log_pi)).masked_fill(log_policy == -torch.inf, 0.0)
    seen.add("policy_divergence", terms.sum(dim=-1), valid)


def _real(batch: TokenBatch) -> Tensor:
    """(S, L, D) bool: tokens of real transitions."""
    return batch.is_token() & batch.valid.unsqueeze(-1)


class _Samples:
    """Values of each figure, batch by batch."""

    def __init__(self) -> None:
        self.parts: dict[str, list[np.ndarray]] = {}

    def add(self, name: str, values: Tensor, valid: Tensor) -> None:
        """Keep the values (S, L, D) or (S, L) where `valid`, of the same shape, says so."""
        kept = values.cpu()[valid.cpu()].double().flatten().numpy()
        self.parts.setdefault(name, []).append(kept)

    def pop(self, name: str) -> np.ndarray:
        """All values of one figure, which is then done with."""
        return np.concatenate(self.parts.pop(name, [np.zeros(0)]))

    def means(self) -> dict[str, float]:
        """Mean of each figure that has values."""
        joined = {name: np.concatenate(parts) for name, parts in self.parts.items()}
        return {name: float(values.mean()) for name, values in joined.items() if len(values)}
