"""Which seed each episode gets, so that no evaluation episode was ever seen in training.

Seeds are plain, readable numbers that fit 32 bits: `base * 1_000_000 + index`. Collection uses the lower half
of that range (below 2**31), evaluation the upper half (from 2**31 on); the two never meet.
"""

from __future__ import annotations

from qsft_robot.errors import ConfigurationError

EPISODES_PER_SEED = 1_000_000
LARGEST_BASE_SEED = 2**31 // EPISODES_PER_SEED - 1
FIRST_EVALUATION_SEED = 2**31


def collection_seed(base: int, index: int) -> int:
    """Return the seed of episode `index` (from 0) of a collection with base seed `base`; below 2**31.

    Raises:
        ConfigurationError: `base` or `index` is outside the range in which seeds stay distinct.
    """
    if not 0 <= base <= LARGEST_BASE_SEED:
        raise ConfigurationError(f"seed={base} is out of range: choose 0 to {LARGEST_BASE_SEED}")
    if not 0 <= index < EPISODES_PER_SEED:
        raise ConfigurationError(f"episode {index} is out of range: one seed gives {EPISODES_PER_SEED} episodes")
    return base * EPISODES_PER_SEED + index


def evaluation_seed(base: int, index: int) -> int:
    """Return the seed of evaluation episode `index` (from 0); at least 2**31, so never one of collection."""
    return FIRST_EVALUATION_SEED + collection_seed(base, index)
