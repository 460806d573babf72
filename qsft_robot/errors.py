"""The errors a user can meet. A command prints one as a single message and exits with code 2."""

from __future__ import annotations


class QsftRobotError(Exception):
    """Base of every error that says what is wrong, where, and what to do."""


class ConfigurationError(QsftRobotError):
    """A key, group or value of the configuration is unknown, missing or out of range."""


class DataError(QsftRobotError):
    """Data has the wrong shape, type or content (for example NaN in an observation)."""


class StoreError(QsftRobotError):
    """A trajectory store is missing, damaged, of a newer schema, or made by another task."""


class CheckpointError(QsftRobotError):
    """A checkpoint is missing, damaged, or fits another model or action space."""


class TrainingError(QsftRobotError):
    """Training cannot go on, for example because the loss is not finite."""


class MissingExtraError(QsftRobotError):
    """An optional dependency is not installed; the message names the extra that brings it."""

    def __init__(self, extra: str, purpose: str) -> None:
        super().__init__(f"{purpose} needs an optional dependency: pip install 'qsft_robot[{extra}]'")
        self.extra = extra
        self.purpose = purpose

    def __reduce__(self) -> tuple[type[MissingExtraError], tuple[str, str]]:
        """Survive the way from a worker's process: where it cannot be read, a pool waits for ever."""
        return type(self), (self.extra, self.purpose)
