"""The hand-coded expert of the household games, with the slips of a player who does not pay attention.

It plays from what it has seen: it looks through the receptacles in which such a thing may lie, takes it, changes it,
looks for a place of the right kind and puts it down. It reads the task by kinds from the game, as ALFWorld's own
expert does, whose strategy this follows; of that one's two mistakes (a word that the engine no longer uses, a comma
missing in a list) it has neither.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from qsft_robot.agents.base import Agent, Observation
from qsft_robot.agents.scripted.base import STREAM
from qsft_robot.sim.household import wheel
from qsft_robot.sim.household.environment import HouseholdEnv
from qsft_robot.sim.household.tasks import CHANGES

VERBS = {"Cleanable": ("clean", "clean"), "Heatable": ("heat", "hot"), "Coolable": ("cool", "cool")}
"""What to say to change a thing, and the mark that it then has."""

SLIPS_SPREAD = 0.2
"""Around `slips`, half the width of the range from which an episode's own rate is drawn."""


@dataclass(frozen=True)
class HouseholdImperfections:
    """What goes wrong in the household games; all zero makes the expert solve most of them.

    The defaults aim at 34% of episodes that succeed within 30 commands. What they give is measured by
    `python -m qsft_robot.evaluate sim=alfworld options.split=train options.observation=text evaluation.episodes=1000`.

    Attributes:
        slips: probability of saying some other admissible command instead, on average over episodes.
        repeats: probability that a slip repeats the last command's verb, where it can.
        forgetting: probability of forgetting, in an episode, the change (clean, heat, cool), the lamp, the second
            thing, or where to bring the one thing. Without a lamp or a second thing to look for, it strolls about.
        wrong_things: probability of taking something that is not asked for, once in an episode.
    """

    slips: float = 0.46
    repeats: float = 0.5
    forgetting: float = 0.45
    wrong_things: float = 0.1


class ScriptedHousehold(Agent):
    """Searches, takes, changes, brings.

    Args:
        env: a `HouseholdEnv`, or a wrapper around one.
        imperfections: what goes wrong.
    """

    name = "scripted_household"

    def __init__(self, env: Any, imperfections: HouseholdImperfections | None = None) -> None:
        self._env: HouseholdEnv = env.unwrapped
        self._imperfections = HouseholdImperfections() if imperfections is None else imperfections
        self._random = np.random.default_rng(0)
        self._slips = 0.0
        self._forgets = False
        self._grabs = False
        self._last = ""
        self._looked: dict[str, list[str]] = {}
        self._tried: set[str] = set()
        self._delivered: set[str] = set()

    def reset(self, seed: int) -> None:
        """Draw this episode's weaknesses; call it after the environment's reset."""
        wrong = self._imperfections
        self._random = np.random.default_rng([STREAM, seed])
        spread = min(SLIPS_SPREAD, wrong.slips)
        self._slips = float(self._random.uniform(wrong.slips - spread, wrong.slips + spread))
        self._forgets = bool(self._random.uniform() < wrong.forgetting)
        self._grabs = bool(self._random.uniform() < wrong.wrong_things)
        self._last = ""
        self._looked = {}
        self._tried = set()
        self._delivered = set()

    def act(self, observation: Observation) -> str:
        """The next command; the observation is not used."""
        self._take_down()
        commands = list(self._env.turn.commands)
        command = self._plan()
        if command not in commands:
            command = "look" if "look" in commands else commands[0]
        if self._random.uniform() < self._slips:
            command = self._slip(commands)
        self._last = command
        return self._env.worded(command)

    # What it knows.

    def _take_down(self) -> None:
        """Remember what is seen at the receptacle at hand."""
        place = self._env.scene.place
        if place is None:
            return
        if not place.openable or place.opened:
            self._looked[place.name] = [thing.name for thing in place.contents]
        held = self._env.scene.held
        for thing in place.contents:
            if thing.kind == self._object and place.kind == self._place and (held is None or held.name != thing.name):
                self._delivered.add(thing.name)
        if held is not None:
            self._delivered.discard(held.name)

    @property
    def _object(self) -> str:
        return self._env.game.task.object.lower()

    @property
    def _place(self) -> str:
        return self._env.game.task.place.lower()

    # What it wants.

    def _plan(self) -> str:
        task, held = self._env.game.task, self._env.scene.held
        if held is None:
            return self._fetch()
        if held.kind != self._object:
            return self._get_rid_of(held.name)
        if task.lamp:
            return self._stroll() if self._forgets else self._use_lamp()
        quality, station = CHANGES.get(task.type, ("", ""))
        if quality and not self._forgets:
            verb, mark = VERBS[quality]
            if mark not in held.marks:
                return self._at_kind(station.lower()) or f"{verb} {held.name} with {self._here}"
        if task.type == "pick_and_place_simple" and self._forgets:
            return self._get_rid_of(held.name)
        return self._bring(held.name)

    def _fetch(self) -> str:
        """Take a thing of the kind that is asked for, or go on looking for one."""
        if self._grabs:
            other = [each for each in self._env.turn.commands if each.startswith("take ")]
            if other:
                self._grabs = False
                return str(self._random.choice(other))
        place = self._env.scene.place
        twice = self._env.game.task.type == "pick_two_obj_and_place"
        if twice and self._forgets and self._delivered:
            return self._stroll()  # thinks it is done
        if place is not None and place.openable and not place.opened and place.name not in self._looked:
            return f"open {place.name}"
        for name, things in self._looked.items():
            for thing in things:
                right = thing.split(" ", 1)[0] == self._object
                if right and thing not in self._delivered and f"{thing} {name}" not in self._tried:
                    if name != self._here:
                        return f"go to {name}"
                    if f"take {thing} from {name}" not in self._env.turn.commands:
                        self._tried.add(f"{thing} {name}")
                        continue
                    return f"take {thing} from {name}"
        return self._look_further(self._object)

    def _look_further(self, kind: str) -> str:
        """Go where such a thing may lie and was not looked for yet; when all were seen, begin anew."""
        fits = wheel.constants().VAL_RECEPTACLE_OBJECTS
        likely = {each.lower() for each, things in fits.items() if kind in {thing.lower() for thing in things}}
        if kind == "desklamp":
            likely = {"desk", "sidetable", "dresser", "shelf", "coffeetable", "diningtable"}
        unseen = [each for each in self._env.scene.receptacles if each not in self._looked and each != self._here]
        if not unseen:
            self._looked.clear()
            self._tried.clear()
            unseen = [each for each in self._env.scene.receptacles if each != self._here]
        best = [each for each in unseen if each.split(" ", 1)[0] in likely] or unseen
        return f"go to {self._random.choice(best)}"

    def _use_lamp(self) -> str:
        lamp = self._env.game.task.lamp.lower()
        uses = [each for each in self._env.turn.commands if each.startswith(f"use {lamp}")]
        if uses:
            return uses[0]
        place = self._env.scene.place
        if place is not None and place.openable and not place.opened and place.name not in self._looked:
            return f"open {place.name}"
        for name, things in self._looked.items():
            if name != self._here and any(thing.startswith(lamp) for thing in things):
                return f"go to {name}"
        return self._look_further(lamp)

    def _bring(self, thing: str) -> str:
        """Put it where it belongs."""
        return self._at_kind(self._place) or f"move {thing} to {self._here}"

    def _get_rid_of(self, thing: str) -> str:
        """Put it down anywhere but where it belongs."""
        moves = [each for each in self._env.turn.commands if each.startswith("move ")]
        if moves and self._here.split(" ", 1)[0] != self._place:
            return moves[0]
        place = self._env.scene.place
        if place is not None and place.openable and not place.opened:
            return f"open {place.name}"
        return self._stroll()

    def _stroll(self) -> str:
        """Go anywhere else."""
        others = [each for each in self._env.scene.receptacles if each != self._here]
        return f"go to {self._random.choice(others)}" if others else "look"

    def _at_kind(self, kind: str) -> str:
        """What leads to an open receptacle of this kind; empty when it is at hand."""
        place = self._env.scene.place
        if place is not None and place.kind == kind:
            # What changes things works closed too; to put something in, it must be open.
            must_open = kind == self._place and place.openable and not place.opened
            return f"open {place.name}" if must_open else ""
        two = self._env.game.task.type == "pick_two_obj_and_place"
        same = [name for name, things in self._looked.items() if two and self._delivered & set(things)]
        places = [each for each in self._env.scene.receptacles if each.split(" ", 1)[0] == kind]
        for each in [*(name for name in same if name in places), *places]:
            return f"go to {each}"
        return "look"

    @property
    def _here(self) -> str:
        place = self._env.scene.place
        return "" if place is None else place.name

    # What goes wrong.

    def _slip(self, commands: list[str]) -> str:
        verb = self._last.split(" ", 1)[0]
        same = [each for each in commands if verb and each.split(" ", 1)[0] == verb]
        if same and self._random.uniform() < self._imperfections.repeats:
            commands = same
        return str(self._random.choice(commands))
