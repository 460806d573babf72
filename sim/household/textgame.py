"""One game at a time in TextWorld's PDDL engine, with the text of the official environment at a tenth of its cost.

The state (fast-downward's library), the grammar and the rules are TextWorld's. What is done otherwise here:

- a problem is translated once instead of four times: state and reset share it, and no plan is searched for;
- the grammar is parsed once per process: the task's words, in which games differ, are put in afterwards;
- a template is parsed once, not at every command, and what a derivation only reads is not copied deeply.

Nothing of TextWorld's modules is replaced: these are subclasses. Even so this module is for a process of its own
(engine.py starts it): every translation overwrites `sys.argv`, and memory grows by about 1 MB with every game.
"""

from __future__ import annotations

import copy
import functools
import math
import re
import sys
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping
from multiprocessing.connection import Connection
from typing import Any

import fast_downward
import textworld
from textworld.envs.pddl import PddlEnv
from textworld.envs.pddl.logic import Atom, GameLogic, PddlState
from textworld.envs.pddl.textgen import (
    ConditionalSymbol,
    ContextSensitiveGrammar,
    EvalSymbol,
    ListSymbol,
    NonterminalSymbol,
    Symbol,
    TerminalSymbol,
    _parse_and_convert,
    display_list,
)
from textworld.generator.game import EntityInfo
from textworld.logic import Proposition, Rule, Type, Variable

from qsft_robot.sim.household.renderer import Renderer
from qsft_robot.sim.household.scene import Place, Scene, Thing, Turn

UNTOLD = "UNTOLD TASK"
"""Stands for the task's words in a grammar that several games share."""

_TASK = re.compile(r'("rhs"\s*:\s*"Your task is to: )((?:[^"\\]|\\.)*?)(\.?")')
_PLACE = re.compile(r"[-+]?\d+(?:\.\d+)?")
_SIGNS = {"_bar_": "|", "_minus_": "-", "_plus_": "+", "_dot_": ".", "_comma_": ","}
_MARKS = {"ishot": "hot", "iscool": "cool", "isclean": "clean", "istoggled": "on", "issliced": "sliced"}

Context = Mapping[str, Any]


class Grammar(ContextSensitiveGrammar):
    """A grammar that parses every template and condition once."""

    def __init__(self, rules: ContextSensitiveGrammar) -> None:
        super().__init__()
        self.update(rules)

    def replace(self, start: Symbol) -> list[Symbol]:
        """The right-hand side of the first rule for `start` whose condition holds."""
        for rule in self._rules.get(str(start), ()):
            if not rule.condition or next(_matches(rule.condition, start.context), None) is not None:
                return [_with_context(each, start.context) for each in rule.rhs]
        raise textworld.envs.pddl.textgen.CSGUnknownSymbolError(start)

    def derive(self, start: str, context: Context | None = None) -> str:
        """The text that `start` becomes."""
        waiting = [_with_context(each, context or {}) for each in reversed(_parsed(start))]
        words: list[str] = []
        while waiting:
            symbol = waiting.pop()
            if isinstance(symbol, TerminalSymbol):
                words.append(str(symbol))
            else:
                waiting += reversed(self._expand(symbol))
        return "".join(words)

    def _expand(self, symbol: Symbol) -> list[Symbol]:
        if isinstance(symbol, NonterminalSymbol):
            return self.replace(symbol)
        if isinstance(symbol, ListSymbol):
            return list(display_list(self._expand(_with_context(symbol.symbol, symbol.context)), symbol.context))
        if isinstance(symbol, ConditionalSymbol):
            contexts = _matches(symbol.given, symbol.context) if symbol.given else [symbol.context]
            return [_with_context(symbol.expression, each) for each in contexts]
        if isinstance(symbol, EvalSymbol):
            expanded: list[Symbol] = symbol.derive(symbol.context)
            return expanded
        return [symbol]


@functools.cache
def _parsed(template: str) -> tuple[Symbol, ...]:
    return tuple(_parse_and_convert(template, rule_name="symbols"))


@functools.cache
def _query(expression: str) -> Rule:
    return Rule.parse_conjunctive_query(expression)


def _with_context(symbol: Symbol, context: Context) -> Symbol:
    copied = copy.copy(symbol)
    copied.context = context
    return copied


def _matches(expression: str, context: Context) -> Iterator[Context]:
    """The context extended by each way to fill in the expression's variables."""
    for mapping in context["state"].all_assignments(_query(expression), context["mapping"]):
        entities = context["entity_infos"]
        named = {placeholder.name: entities[variable.name] for placeholder, variable in mapping.items()}
        yield {
            **context,
            "variables": {**context["variables"], **named},
            "mapping": {**context["mapping"], **mapping},
        }


class TranslatedState(PddlState):
    """The state of a problem, translated once and without a second translation for planning."""

    def __init__(self, library: Any, problem: str, logic: GameLogic) -> None:
        # PddlState's own constructor would translate; State's takes only a logic of TextWorld's other engine.
        self._facts: dict[Any, set[Proposition]] = defaultdict(set)
        self._vars_by_name: dict[str, Variable] = {}
        self._vars_by_type: dict[str, set[Variable]] = defaultdict(set)
        self._var_counts: Counter[str] = Counter()
        self._logic = logic
        self.downward_lib = library
        self.pddl_problem = problem
        self.task, self.sas = fast_downward.pddl2sas(logic.domain, problem)
        self._actions = {action.name: action for action in self.task.actions}
        for each in self.task.types:
            if each.name not in {known.name for known in logic.types}:
                logic.types.add(Type(each.name, each.supertype_names))
        library.load_sas(self.sas.encode("utf-8"))
        self.name2type = {each.name: each.type_name for each in self.task.objects}
        self.add_facts(self._stated())
        atoms = (Atom * library.get_state_size())()
        library.get_state(atoms)
        facts = (atom.get_fact(self.name2type) for atom in atoms)
        self.add_facts([fact for fact in facts if not fact.is_negation])

    def _stated(self) -> Iterator[Proposition]:
        """The facts that the problem states, without equalities and costs."""
        for each in self.task.init:
            if hasattr(each, "predicate") and each.predicate != "=":
                yield Proposition(each.predicate, [Variable(name, self.name2type[name]) for name in each.args])


@functools.lru_cache(maxsize=4)
def _logic(domain: str, grammar: str) -> GameLogic:
    logic = GameLogic(domain=domain, grammar=grammar)
    logic.grammar = Grammar(logic.grammar)
    return logic


class TextGame(PddlEnv):
    """Plays one game after another: `begin`, then `command` after `command`."""

    def __init__(self) -> None:
        super().__init__(textworld.EnvInfos(won=True, admissible_commands=True))
        self._at_hand = ""
        self._around: tuple[str, ...] = ()
        self._kinds: tuple[str, ...] = ()

    def begin(self, game: Mapping[str, Any]) -> Turn:
        """Start a game.

        Args:
            game: pddl_domain, grammar and pddl_problem, as `game.tw-pddl` holds them.
        """
        found = _TASK.search(game["grammar"])
        words = found[2] if found else ""
        shared = _TASK.sub(rf"\g<1>{UNTOLD}\g<3>", game["grammar"], count=1)
        self._game_data = game
        self._logic = _logic(game["pddl_domain"], shared)
        self._pddl_state = TranslatedState(self.downward_lib, game["pddl_problem"], self._logic)
        self._entity_infos = self._named_entities()
        self._at_hand = ""
        self._around = self._receptacles()
        self._kinds = self._kinds_of_things()
        self.prev_state = None
        self.state = textworld.GameState()
        self._last_action = None
        self._moves = 0
        context = {
            "state": self._pddl_state,
            "facts": list(self._pddl_state.facts),
            "variables": {},
            "mapping": {},
            "entity_infos": self._entity_infos,
        }
        self.state.feedback = self._logic.grammar.derive("#intro#", context).replace(UNTOLD, words)
        self._gather_infos()
        return self._turn()

    def command(self, words: str) -> Turn:
        """Carry out a command; one that is not admissible changes nothing and says so."""
        self.step(words)
        return self._turn()

    def _turn(self) -> Turn:
        commands = tuple(self.state["admissible_commands"])
        return Turn(self.state["feedback"], commands, bool(self.state["won"]), self._scene())

    def _named_entities(self) -> dict[str, EntityInfo]:
        """Every entity with the name that the official environment gives it: kind and number, `mug 2`.

        Numbers count down along the sorted ids, as there.
        """
        entities = {}
        for fact in self._pddl_state.facts:
            for variable in fact.arguments:
                entities[variable.name] = EntityInfo(variable.name, variable.type)
        left: dict[str, int] = {}
        for name in entities:
            left[_kind(name)] = left.get(_kind(name), 0) + 1
        for name in sorted(entities):
            kind = _kind(name)
            numbered = "_bar_" in name
            entities[name].name = f"{kind} {left[kind] if numbered else ''}"
            left[kind] -= 1
            entities[name].definite, entities[name].indefinite = "the", "a"
        return entities

    # What is seen.

    def _scene(self) -> Scene:
        facts: dict[str, list[tuple[str, ...]]] = {}
        for fact in self._pddl_state.facts:
            facts.setdefault(fact.name, []).append(tuple(variable.name for variable in fact.arguments))
        pose = next(arguments[1] for arguments in facts["atlocation"])
        here = sorted(each for each, at in facts.get("receptacleatlocation", ()) if at == pose)
        if self._last_action is not None:
            named = [variable.name for variable in self._last_action.mapping.values() if variable.name in here]
            self._at_hand = named[0] if named else self._at_hand
        if self._at_hand not in here:
            self._at_hand = here[0] if here else ""
        held = next((self._thing(each, facts) for _, each in facts.get("holds", ())), None)
        place = self._place(self._at_hand, facts) if self._at_hand else None
        return Scene(self._around, place, held, self._kinds)

    def _place(self, name: str, facts: Mapping[str, list[tuple[str, ...]]]) -> Place:
        openable = (name,) in facts.get("openable", ())
        opened = (name,) in facts.get("opened", ())
        inside = sorted(each for each, at in facts.get("inreceptacle", ()) if at == name)
        contents = tuple(self._thing(each, facts) for each in inside) if opened or not openable else ()
        return Place(self._entity_infos[name].name, openable, opened, contents)

    def _thing(self, name: str, facts: Mapping[str, list[tuple[str, ...]]]) -> Thing:
        marks = frozenset(mark for fact, mark in _MARKS.items() if (name,) in facts.get(fact, ()))
        return Thing(self._entity_infos[name].name, marks)

    def _receptacles(self) -> tuple[str, ...]:
        """The names of all receptacles as they stand around the middle of the room."""
        found = sorted(
            {fact.arguments[0].name for fact in self._pddl_state.facts if fact.name == "receptacleatlocation"}
        )
        places = [_position(each) for each in found]
        middle = [sum(axis) / max(1, len(places)) for axis in zip(*places, strict=True)]
        bearing = {
            each: math.atan2(place[1] - middle[1], place[0] - middle[0])
            for each, place in zip(found, places, strict=True)
        }
        return tuple(self._entity_infos[each].name for each in sorted(found, key=lambda each: (bearing[each], each)))

    def _kinds_of_things(self) -> tuple[str, ...]:
        """The kinds of all that lies in or on something, sorted."""
        things = {fact.arguments[0].name for fact in self._pddl_state.facts if fact.name == "inreceptacle"}
        return tuple(sorted({_kind(each) for each in things}))


def _kind(name: str) -> str:
    kind = name.split("_bar_", 1)[0]
    return kind + "basin" if "_bar_" in name and "basin" in name else kind


def _position(name: str) -> tuple[float, float]:
    """The coordinates x and z in an entity's id; (0, 0) where it holds none."""
    for sign, plain in _SIGNS.items():
        name = name.replace(sign, plain)
    numbers = [float(each) for each in name.split("|")[1:4] if _PLACE.fullmatch(each)]
    return (numbers[0], numbers[2]) if len(numbers) == 3 else (0.0, 0.0)


def serve(connection: Connection) -> None:
    """Answer with `("done", answer)` or `("failed", why, traceback)`.

    `("begin", game)` and `("command", words)` are answered by a Turn, `("picture", (scene, size))` by what
    `Renderer.picture` returns.

    Ends when the other side closes the connection or is gone.
    """
    player = TextGame()

    @functools.cache
    def renderer() -> Renderer:
        return Renderer()

    acts: dict[str, Callable[[Any], Any]] = {
        "begin": player.begin,
        "command": player.command,
        "picture": lambda content: renderer().picture(*content),
    }
    while True:
        try:
            act, content = connection.recv()
        except (EOFError, ConnectionError):
            return
        try:
            connection.send(("done", acts[act](content)))
        except (BrokenPipeError, ConnectionError):
            return
        except Exception as error:
            connection.send(("failed", f"{type(error).__name__}: {error}", traceback.format_exc()))


if __name__ == "__main__":
    serve(Connection(int(sys.argv[1])))
