"""The algorithms, one file each, behind one interface."""

from __future__ import annotations

from typing import Any

from qsft_robot.algorithms.archer import OfflineArcher
from qsft_robot.algorithms.base import Algorithm, TokenBatch
from qsft_robot.algorithms.bc import BehaviourCloning
from qsft_robot.algorithms.cql import CQL
from qsft_robot.algorithms.filtered_bc import FilteredBehaviourCloning
from qsft_robot.algorithms.ilql import ILQL
from qsft_robot.algorithms.monte_carlo import MonteCarloReturns
from qsft_robot.algorithms.q_transformer import QTransformer
from qsft_robot.algorithms.qsft import QSFT
from qsft_robot.algorithms.return_conditioned import ReturnConditioned
from qsft_robot.algorithms.value_range import ValueRange
from qsft_robot.errors import ConfigurationError
from qsft_robot.models import NetworkShape

ALGORITHMS: dict[str, type[Algorithm]] = {
    "bc": BehaviourCloning,
    "filtered_bc": FilteredBehaviourCloning,
    "return_conditioned": ReturnConditioned,
    "cql": CQL,
    "q_transformer": QTransformer,
    "ilql": ILQL,
    "monte_carlo": MonteCarloReturns,
    "archer": OfflineArcher,
    "qsft": QSFT,
}
"""Kind of algorithm, as in the configuration -> its class."""


def make_algorithm(shape: NetworkShape, settings: Any, value_range: ValueRange) -> Algorithm:
    """Build the algorithm that `settings.kind` names, with fresh weights.

    Raises:
        ConfigurationError: there is no such algorithm.
    """
    try:
        return ALGORITHMS[settings.kind](shape, settings, value_range)
    except KeyError:
        raise ConfigurationError(f"no algorithm '{settings.kind}'; there are {', '.join(ALGORITHMS)}") from None


__all__ = ["ALGORITHMS", "Algorithm", "TokenBatch", "ValueRange", "make_algorithm"]
