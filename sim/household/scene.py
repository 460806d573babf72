"""What the agent stands before, as data: the engine makes one after every command, and the renderer draws it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

ROOMS = ("kitchen", "living room", "bedroom", "bathroom")

_SIGNS_OF_A_ROOM = (
    ("kitchen", {"fridge", "stoveburner", "microwave"}),
    ("bathroom", {"toilet", "bathtubbasin", "toiletpaperhanger", "handtowelholder"}),
    ("bedroom", {"bed", "laundryhamper"}),
)


@dataclass(frozen=True)
class Thing:
    """Something that lies somewhere or is held.

    Attributes:
        name: as the text says it, `mug 1`.
        marks: what it is besides: `hot`, `cool`, `clean`, `on`, `sliced`.
    """

    name: str
    marks: frozenset[str] = frozenset()

    @property
    def kind(self) -> str:
        """The name without its number."""
        return self.name.split(" ", 1)[0]


@dataclass(frozen=True)
class Place:
    """The receptacle at hand.

    Attributes:
        name: as the text says it, `fridge 1`.
        openable: whether it can be opened and closed.
        opened: whether it stands open; False for what cannot be opened.
        contents: what is seen in or on it, in the order of the names; nothing while it is closed.
    """

    name: str
    openable: bool = False
    opened: bool = False
    contents: tuple[Thing, ...] = ()

    @property
    def kind(self) -> str:
        """The name without its number."""
        return self.name.split(" ", 1)[0]


@dataclass(frozen=True)
class Scene:
    """What the agent sees.

    Attributes:
        receptacles: the names of all receptacles of the room, in an order that stays the same in that room.
        place: the receptacle at hand; None in the middle of the room.
        held: what the agent holds.
        kinds: of the things that there are in the room, in sight or not, sorted.
    """

    receptacles: tuple[str, ...]
    place: Place | None = None
    held: Thing | None = None
    kinds: tuple[str, ...] = ()

    @property
    def room(self) -> str:
        """The kind of room, one of `ROOMS`, told by its receptacles."""
        kinds = {each.split(" ", 1)[0] for each in self.receptacles}
        for room, signs in _SIGNS_OF_A_ROOM:
            if kinds & signs:
                return room
        return "living room"

    @property
    def look(self) -> int:
        """A number from 0 to 2^32 - 1 that is the same in the same room: it chooses the colours of walls and floor."""
        return zlib.crc32(" ".join(self.receptacles).encode())

    def visible(self) -> tuple[Thing, ...]:
        """All things in sight: what lies in or on the receptacle at hand, and what is held."""
        held = () if self.held is None else (self.held,)
        return (*(self.place.contents if self.place else ()), *held)

    def caption(self) -> str:
        """What a picture of this shows, for example `open: mug, pen`: kinds, sorted, after the state of the place."""
        state = "here"
        if self.place is not None and self.place.openable:
            state = "open" if self.place.opened else "closed"
        return f"{state}: {', '.join(sorted({thing.kind for thing in self.visible()})) or 'nothing'}"


@dataclass(frozen=True)
class Turn:
    """What the engine answers to a command.

    Attributes:
        feedback: the text, exactly as the official environment gives it.
        commands: the admissible commands, sorted.
        won: whether the goal is reached.
        scene: what is seen now.
    """

    feedback: str
    commands: tuple[str, ...]
    won: bool
    scene: Scene
