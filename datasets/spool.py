"""Keeps episodes that were finished out of turn until they can be appended in order.

Workers finish in any order, a store is filled in the order of episode numbers. An episode that comes early is
written to a file of its own in the store's journal, so that a killed collection loses nothing that was finished.
"""

from __future__ import annotations

from pathlib import Path

from qsft_robot.datasets import journal
from qsft_robot.datasets.episode import Episode
from qsft_robot.datasets.layout import StoreSpec
from qsft_robot.datasets.writer import make_record

PREFIX = "ahead-"


class Spool:
    """Episodes by number, in memory and in files below `<store>/journal/`."""

    def __init__(self, store: Path, spec: StoreSpec, first: int) -> None:
        """Load what a killed collection left from episode `first` on, and remove the rest."""
        self._folder = store / "journal"
        self._spec = spec
        self._held: dict[int, Episode] = {}
        for file in self._folder.glob(f"{PREFIX}*"):
            records, torn, broken = journal.read_pending(file)
            if torn is not None or broken or len(records) != 1 or records[0][0].index < first:
                file.unlink()
                continue
            record, payload = records[0]
            self._held[record.index] = journal.episode_from_bytes(payload, record, spec)

    def __contains__(self, index: int) -> bool:
        return index in self._held

    def __len__(self) -> int:
        return len(self._held)

    def put(self, index: int, episode: Episode) -> None:
        """Keep episode number `index`."""
        payload = journal.episode_bytes(episode, self._spec)
        content = journal.pack(make_record(episode, payload, index, 0, ""), payload)
        self._file(index).write_bytes(content)
        self._held[index] = episode

    def get(self, index: int) -> Episode:
        """Return episode number `index`; it stays until `drop`."""
        return self._held[index]

    def drop(self, index: int) -> None:
        """Forget episode number `index`, which has been appended."""
        self._held.pop(index)
        self._file(index).unlink(missing_ok=True)

    def _file(self, index: int) -> Path:
        return self._folder / f"{PREFIX}{index}.bin"
