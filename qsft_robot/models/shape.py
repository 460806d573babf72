"""What the shapes of all networks share: they are written to a checkpoint and read back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, ClassVar, Self


@dataclass(frozen=True)
class Shape:
    """Everything that determines a network's parameters, all of it text, numbers and tuples of them."""

    kind: ClassVar[str]

    def to_dict(self) -> dict[str, Any]:
        """Return a JSON-ready description."""
        return {"kind": self.kind, **asdict(self)}

    @classmethod
    def from_dict(cls, description: Mapping[str, Any]) -> Self:
        """Restore what `to_dict` described (JSON turns tuples into lists)."""
        return cls(**{key: _with_tuples(value) for key, value in description.items() if key != "kind"})


def _with_tuples(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _with_tuples(part) for key, part in value.items()}
    return tuple(value) if isinstance(value, list) else value
