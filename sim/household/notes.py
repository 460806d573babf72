"""What an attentive player would write down: the task, what is held, what was seen where, and where not yet.

A text of the game itself tells only what the last command did. Notes make the observation enough to act on alone, for
models that do not see the whole episode; nothing stands in them that was not seen or done. They count the commands:
time is limited, and what a state is worth depends on how much of it is left (Pardo et al., "Time Limits in
Reinforcement Learning", ICML 2018). They mark what the player brought to where it lies, which looks like a thing still
to be found otherwise. Without contents they leave out what lies in a place and whether it is open, which the picture
shows. Nor do they number things then, because numbers cannot be seen.
"""

from __future__ import annotations

from qsft_robot.sim.household.scene import Thing, Turn


class Notes:
    """The notes of one episode.

    Args:
        task: what is asked for, in English.
        contents: whether they say what was seen in a place, or only that it was seen.
    """

    def __init__(self, task: str, contents: bool = True) -> None:
        self._task = task
        self._contents = contents
        self._seen: dict[str, str] = {}
        self._held: Thing | None = None
        self._brought: set[str] = set()
        self._commands = 0

    def text(self, turn: Turn, command: str) -> str:
        """Take down what a turn shows, and return all there is to know.

        Args:
            turn: the engine's answer.
            command: what it answers to; empty at the beginning.
        """
        self._commands += bool(command)
        place, held = turn.scene.place, turn.scene.held
        if self._held is not None and held is None:
            self._brought.add(self._held.name)
        elif held is not None:
            self._brought.discard(held.name)
        self._held = held
        if place is not None:
            self._seen.pop(place.name, None)
            closed = place.openable and not place.opened
            self._seen[place.name] = "closed" if closed else ", ".join(map(self._told, place.contents)) or "nothing"
        lines = [
            f"Task: {self._task}",
            f"Commands: {self._commands}",
            f"Held: {'nothing' if held is None else self._told(held)}",
            f"At: {'the middle of the room' if place is None else place.name}",
        ]
        lines += [f"- {name}: not seen" for name in turn.scene.receptacles if name not in self._seen]
        if not self._contents:
            lines += [f"- {name}: seen" for name in self._seen] + [f"> {command}"] * bool(command)
            return "\n".join(lines)
        lines += [f"- {name}: {what}" for name, what in self._seen.items()]
        said = turn.feedback if command else turn.feedback.partition("Your task is to:")[0]
        lines += [f"> {command}"] * bool(command) + [" ".join(said.split())]
        return "\n".join(lines)

    def _told(self, thing: Thing) -> str:
        name = thing.name if self._contents else thing.kind
        marks = thing.marks | {"brought"} if thing.name in self._brought else thing.marks
        return f"{name} ({', '.join(sorted(marks))})" if marks else name
