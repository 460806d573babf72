"""Text as streams of tokens: what is scored in one pass is what is scored action by action."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from qsft_robot.agents.base import as_observation
from qsft_robot.agents.legal import LegalTokens, legal_scores
from qsft_robot.agents.rollout import rollout
from qsft_robot.agents.token_agent import TokenAgent
from qsft_robot.algorithms import ALGORITHMS, ValueRange, make_algorithm
from qsft_robot.algorithms.qsft import QSFT
from qsft_robot.collect import main as collect
from qsft_robot.config import CollectConfig, TrainConfig, load
from qsft_robot.config.algorithms import QsftConfig
from qsft_robot.datasets.sampler import SegmentSampler
from qsft_robot.datasets.store import TrajectoryStore
from qsft_robot.errors import ConfigurationError, DataError, QsftRobotError
from qsft_robot.evaluation.evaluate import Task
from qsft_robot.models import LineTransformerShape, TextTransformerShape
from qsft_robot.tokenization import TextTokenizer, WholeActionTokenizer, tokenizer_from_dict
from qsft_robot.training.data import open_data
from qsft_robot.training.experiment import Experiment
from qsft_robot.training.policy_files import Policy
from qsft_robot.training.shapes import learn_tokenizer
from qsft_robot.training.text import Streams, TextConverter, prompts, scored_actions, scored_alternatives

SMALL = ["sim=wordle", "model.width=16", "model.layers=1", "model.heads=2", "training.segment_length=6"]


@pytest.fixture(scope="module", params=["tiny_text", "tiny_lines"])
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run folder of a Wordle policy that learned for a moment."""
    folder = tmp_path_factory.mktemp("wordle")
    words = [
        *SMALL,
        f"model={request.param}",
        "preset=smoke",
        "episodes=60",
        f"run={folder / 'run'}",
        "evaluation.episodes=3",
    ]
    config = load(TrainConfig, [*words, "evaluation.workers=1", "workers=1"])
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        result = Experiment(config).run()
    assert set(result["evaluation"]) == {"scripted", "behaviour_clone", "qsft"}
    assert len(list((folder / "run" / "videos").glob("*.mp4"))) == 2
    return folder / "run"


def texts_of(store: TrajectoryStore, index: int) -> tuple[list[str], list[str]]:
    episode = store.episode(index)
    return episode.observations["text"].tolist(), episode.actions.tolist()


def test_a_batch_scores_what_each_action_alone_scores(run: Path) -> None:
    agent = TokenAgent.from_checkpoint(run, dtype=torch.float64)
    tokenizer = agent.policy.tokenizer
    assert isinstance(tokenizer, TextTokenizer)
    (path,) = (run.parent / "data").glob("*.zarr")
    store = TrajectoryStore.open(path)
    sampler = SegmentSampler([store], batch_size=16, segment_length=4, seed=3)
    drawn = sampler.batch(0)
    context = agent.shape.context
    batch = TextConverter(tokenizer, context, torch.device("cpu"))(drawn, torch.Generator())
    network = agent.algorithm.network("likelihood")
    with torch.inference_mode():
        observations, tokens = batch.everything()
        logits = network(network.encode(observations), tokens).view(*batch.tokens.shape, -1)
        for segment in range(len(drawn)):
            for step in range(drawn.actions.shape[1]):
                if not drawn.valid[segment, step]:
                    continue
                text, action = str(drawn.observations["text"][segment, step, 0]), str(drawn.actions[segment, step])
                alone, alone_tokens, lengths = scored_actions(tokenizer, [text], [action], context, torch.device("cpu"))
                expected = network(network.encode(alone), alone_tokens)[0, : lengths[0]]
                torch.testing.assert_close(logits[segment, step, : lengths[0]], expected)
                assert batch.tokens[segment, step, : lengths[0]].tolist() == list(tokenizer.action(action))


def test_a_stream_is_an_episode_and_holds_nothing_twice(run: Path) -> None:
    tokenizer = TokenAgent.from_checkpoint(run).policy.tokenizer
    assert isinstance(tokenizer, TextTokenizer)
    (path,) = (run.parent / "data").glob("*.zarr")
    store = TrajectoryStore.open(path)
    sampler = SegmentSampler([store], batch_size=24, segment_length=6, whole_episodes=True)
    convert = TextConverter(tokenizer, 96, torch.device("cpu"))
    drawn = [sampler.batch(step) for step in range(len(store) // sampler.segments)]
    assert sorted(row for batch in drawn for row in batch.row[:, 0]) == sampler.table.first_rows.tolist()
    assert sum(int(batch.valid.sum()) for batch in drawn) == store.number_of_steps
    for batch in drawn:
        streams = convert(batch, torch.Generator()).observations["stream"]
        assert len(streams) == sampler.segments
        longest = max(len(tokenizer.observation(str(text))) for text in batch.observations["text"].ravel())
        assert streams.shape[1] <= longest
    with pytest.raises(ConfigurationError, match="whole episodes"):
        SegmentSampler([store], batch_size=24, segment_length=3, whole_episodes=True)


def test_decoding_follows_the_scores_whatever_else_is_in_the_batch(run: Path) -> None:
    agent = TokenAgent.from_checkpoint(run, "greedy", dtype=torch.float64)
    (path,) = (run.parent / "data").glob("*.zarr")
    texts, _ = texts_of(TrajectoryStore.open(path), 0)
    observations = [as_observation(text) for text in texts]
    together = agent.act_batch(observations, [agent.new_memory(0) for _ in texts])
    for observation, action in zip(observations, together, strict=True):
        agent.reset(0)
        assert agent.act(observation) == action
    tokenizer = agent.policy.tokenizer
    assert isinstance(tokenizer, TextTokenizer)
    with torch.inference_mode():
        stacked, tokens, lengths = scored_actions(tokenizer, texts, together, agent.shape.context, torch.device("cpu"))
        policy = agent.algorithm.extract(agent.algorithm.all_logits(stacked, tokens))
        if tokenizer.never is not None:
            policy[..., tokenizer.never] = -torch.inf
    for row, length in enumerate(lengths):
        assert policy[row, :length].argmax(dim=-1).tolist() == tokens[row, :length].tolist()


def test_chance_does_not_depend_on_the_length_of_other_actions(run: Path) -> None:
    agent = TokenAgent.from_checkpoint(run, "sample", dtype=torch.float64)
    alone, beside, other = agent.new_memory(1), agent.new_memory(1), agent.new_memory(2)
    first = as_observation("Wordle:\n")
    for _ in range(4):
        (action,) = agent.act_batch([first], [alone])
        assert agent.act_batch([first, first], [beside, other])[0] == action


def test_legal_decoding_writes_words_of_the_vocabulary_only(run: Path) -> None:
    env = Task("qsft_robot/Wordle-v0", {}).make()
    agent = TokenAgent.from_checkpoint(run, "sample", legal_only=True)
    episode = rollout(agent, env, seed=5)
    assert set(episode.actions.tolist()) <= set(env.unwrapped.legal_actions())
    values = agent.values(episode.observations, episode.actions)
    assert values is not None and values.shape[0] == len(episode)
    kept = values[~np.isnan(values)]
    assert ((kept >= -6.0) & (kept <= 0.0)).all()


def test_with_a_large_repetition_penalty_an_episode_tries_everything(run: Path) -> None:
    store = TrajectoryStore.open(next(run.parent.glob("data/*.zarr")))
    agent = TokenAgent.from_checkpoint(run / "behaviour", "greedy", legal_only=True, repetition_penalty=1000.0)
    said = sorted({word for index in range(10) for word in texts_of(store, index)[1]})
    words = tuple(each for each in said if agent.policy.tokenizer.action(each))[:4]
    observation = as_observation("Wordle:\n")
    for _ in range(2):
        agent.reset(0)
        agent.inform({"legal_actions": words})
        tried = [agent.act(observation) for _ in range(len(words) + 1)]
        assert sorted(tried[:-1]) == sorted(words)
        assert tried[-1] == tried[0]


def test_the_length_of_an_action_does_not_bias_the_choice() -> None:
    long, short = "go to the very large wooden cabinet 12\n", "look\n"
    tokenizer = TextTokenizer.fit(iter([long, short]), [long, short], 300)
    choices = LegalTokens(tokenizer, [(long, short)])
    first = choices.mask(torch.zeros(1, tokenizer.bins)).softmax(dim=-1)
    assert sorted(first[first > 0].tolist()) == [0.5, 0.5]
    choices.advance(torch.tensor([tokenizer.action(long)[0]]))
    for token in tokenizer.action(long)[1:]:
        # Where only one token can follow it costs nothing, so a long command is not less likely for being long.
        probabilities = choices.mask(torch.randn(1, tokenizer.bins)).softmax(dim=-1)
        assert probabilities[0, token] == 1.0
        choices.advance(torch.tensor([token]))
    assert choices.finished == [True]


def test_the_tokens_of_an_action_bear_its_penalty_together() -> None:
    legal = ("go to desk 1\n", "go to desk 2\n", "go to bed 1\n", "look\n")
    tokenizer = TextTokenizer.fit(iter(legal), legal, 280)
    penalties = [1.0, 2.0, 0.5, 2.5]
    logits = torch.randn(1, tokenizer.bins)

    def score(action: str, penalised: bool) -> float:
        """The sum of an action's logits as they are after the mask."""
        choices = LegalTokens(tokenizer, [legal], [penalties] if penalised else None)
        total = 0.0
        for token in tokenizer.action(action):
            total += float(choices.mask(logits)[0, token])
            choices.advance(torch.tensor([token]))
        return total

    for action, penalty in zip(legal, penalties, strict=True):
        assert score(action, False) - score(action, True) == pytest.approx(penalty - min(penalties), abs=1e-5)
    # Also where the policy rules out all that is legal.
    ruled_out = LegalTokens(tokenizer, [legal], [penalties]).mask(torch.full_like(logits, -torch.inf))
    assert ruled_out.argmax() == tokenizer.action("go to bed 1\n")[0]


def test_whole_legal_actions_are_weighed_by_what_may_follow() -> None:
    legal = ["go to desk 1\n", "go to desk 2\n", "go to bed 1\n", "take the big pen from desk 1\n"]
    tokenizer = TextTokenizer.fit(iter(legal), legal, 280)
    tokens, lengths = tokenizer.encode(legal)
    alike = torch.zeros(len(legal), tokenizer.dimensions, tokenizer.bins)
    scores = legal_scores(alike, torch.from_numpy(tokens), lengths.tolist()).exp()
    # Half for each verb; of the first, half for each kind; of desks, half for each. Nothing for length.
    torch.testing.assert_close(scores, torch.tensor([0.125, 0.125, 0.25, 0.5]))
    assert int(scores.argmax()) == 3
    generator = torch.Generator().manual_seed(0)
    drawn: dict[tuple[int, ...], torch.Tensor] = {}
    for number, row in enumerate(tokens.tolist()):
        for place in range(len(row)):
            alike[number, place] = drawn.setdefault(
                tuple(row[:place]), torch.randn(tokenizer.bins, generator=generator)
            )
    scores = legal_scores(alike, torch.from_numpy(tokens), lengths.tolist())
    torch.testing.assert_close(scores.exp().sum(), torch.tensor(1.0))
    alike[:, 0] = -torch.inf  # a policy that rules out every first token chooses by the rest
    assert legal_scores(alike, torch.from_numpy(tokens), lengths.tolist()).isfinite().all()


def test_tokens_of_text_and_back() -> None:
    texts = ["Wordle:\ns h i r e\nb y g g b\n", "Is it a söfa?\n"]
    tokenizer = TextTokenizer.fit(iter(texts), ["s h i r e\n", "a\n"], 300)
    restored = tokenizer_from_dict(tokenizer.to_dict())
    assert isinstance(restored, TextTokenizer)
    tokens, lengths = restored.encode(["s h i r e\n", "a"])
    assert restored.decode(tokens) == ["s h i r e\n", "a\n"] and lengths.tolist() == [6, 2]
    whole = restored.observation("".join(texts))
    assert whole == [token for text in texts for token in restored.observation(text)]


def test_whole_actions_are_those_of_the_data() -> None:
    seen, acted = ["A:\ns h i r e\nb y\n"], ["s h i r e\n", "a b\n", "s h i r e\n"]
    tokenizer = tokenizer_from_dict(WholeActionTokenizer.fit(iter(seen), acted, 300).to_dict())
    assert isinstance(tokenizer, WholeActionTokenizer) and (tokenizer.bins, tokenizer.dimensions) == (2, 1)
    tokens, lengths = tokenizer.encode([*acted, "c\n"])
    assert lengths.tolist() == [1, 1, 1, 0] and tokenizer.decode(tokens[:3]) == acted
    # What was done is read letter by letter, even what could not be chosen.
    assert tokenizer.written("s h i r e\n") == tuple(tokenizer.observation("s h i r e\n"))
    with pytest.raises(DataError, match="none of the 1 legal actions"):
        LegalTokens(tokenizer, [("never\n",)])


def test_a_line_is_read_by_its_place_and_by_the_line_above() -> None:
    texts = ["A\n1 2\nb y\n", "A\n1 2\nb y\nc\n"]
    tokenizer = WholeActionTokenizer.fit(iter(texts), ["x\n", "y\n"], 300)
    torch.manual_seed(0)
    shape = LineTransformerShape(
        bins=2, outputs=2, vocabulary=tokenizer.vocabulary, end_of_line=tokenizer.end_of_line,
        padding=tokenizer.padding, context=32, columns=2, width=16, layers=2, heads=2,
    )  # fmt: skip
    network = shape.network().double()

    def logits(*lines: str) -> torch.Tensor:
        prompt = prompts(tokenizer, [*lines], 32, torch.device("cpu"))
        return network.start(prompt)[1]

    with torch.inference_mode():
        alone = torch.cat([logits(text) for text in texts])
        torch.testing.assert_close(logits(*texts), alone)  # padding in front of the shorter one changes nothing
        assert not torch.allclose(logits("A\n2 1\nb y\n"), alone[0])
        stream = torch.tensor([tokenizer.observation(texts[1])])
        ends = (stream[0] == tokenizer.end_of_line).nonzero()[-2:]
        whole = network(network.encode({"stream": stream, "positions": ends}), stream[:, :1])
        torch.testing.assert_close(whole[:, 0], alone)
        # Through the table `above` alone, the first token of a line feels the first of the line before it.
        network.token.weight.zero_()
        network.gate.weight.zero_()
        assert not torch.allclose(logits("A\n1 2\nb y\n"), logits("A\n2 2\nb y\n"))
        torch.testing.assert_close(logits("A\n1 2\nb y\n"), logits("A\n1 2\ny y\n"))


def test_written_actions_are_decoded_as_they_were_learned() -> None:
    texts, actions = ["A\n1 2\n", "B\n2 1\n1 1\nb\n"], ["go there now\n", "go\n"]
    tokenizer = TextTokenizer.fit(iter([*texts, *actions]), actions, 280)
    torch.manual_seed(0)
    shape = LineTransformerShape(
        bins=tokenizer.bins, outputs=tokenizer.bins, vocabulary=tokenizer.vocabulary,
        end_of_line=tokenizer.end_of_line, padding=tokenizer.padding, context=64, columns=4, width=16, layers=2,
        heads=2, dimensions=tokenizer.dimensions, image=(16, 16), image_tokens=2, channels=(4, 4), pairs=True,
        instruction_lines=1, pointers=2, candidates=True, image_words=True,
    )  # fmt: skip
    network = shape.network().double()
    for head in (network.head_gain, network.head_query, network.head_listed):
        torch.nn.init.normal_(head)
    images = np.random.default_rng(0).integers(0, 255, (2, 16, 16, 3), dtype=np.uint8)
    streams = Streams(tokenizer, 64, growing=False)
    tokens, lengths = tokenizer.encode(actions)
    positions = []
    for text, action, count in zip(texts, actions, lengths, strict=True):
        streams.see(text)
        row, place = streams.here()
        positions.append([(row, place + min(k, count - 1)) for k in range(tokenizer.dimensions)])
        streams.act(action)
    stream = streams.tensor()
    flat = torch.tensor([[row * stream.shape[1] + place for row, place in each] for each in positions])
    with torch.inference_mode():
        scored = network.encode({"stream": stream, "positions": flat, "image": torch.from_numpy(images)})
        scored = network(scored, torch.from_numpy(tokens))
        prompt = prompts(tokenizer, texts, 64, torch.device("cpu"))
        cache, logits = network.start({**prompt, "image": torch.from_numpy(images)})
        for dimension in range(tokenizer.dimensions):
            for row in range(2):
                if dimension < lengths[row]:
                    torch.testing.assert_close(scored[row, dimension], logits[row])
            logits = network.step(cache, torch.from_numpy(tokens[:, dimension]), dimension + 1)


@pytest.mark.parametrize("lines", [True, False])
def test_alternatives_are_scored_together_as_each_alone(lines: bool) -> None:
    text, actions = "A\n1 2\nb y\n", ["go there now\n", "go\n", "stay there\n"]
    tokenizer = TextTokenizer.fit(iter([text, *actions]), actions, 280)
    torch.manual_seed(0)
    common: dict[str, Any] = {
        "bins": tokenizer.bins, "outputs": tokenizer.bins, "context": 64,
        "width": 16, "layers": 2, "heads": 2, "dimensions": tokenizer.dimensions, "image": (16, 16),
        "image_tokens": 2, "channels": (4, 4),
    }  # fmt: skip
    text_of = {"vocabulary": tokenizer.vocabulary, "end_of_line": tokenizer.end_of_line, "padding": tokenizer.padding}
    network: Any = TextTransformerShape(**common).network()
    if lines:
        network = LineTransformerShape(
            **common, **text_of, pairs=True, pointers=2, candidates=True, instruction_lines=1, image_words=True
        ).network()
        for head in (network.head_gain, network.head_query, network.head_listed):
            torch.nn.init.normal_(head)
    network, cpu = network.double(), torch.device("cpu")
    picture = np.random.default_rng(0).integers(0, 255, (16, 16, 3), dtype=np.uint8)
    together, _, lengths = scored_alternatives(tokenizer, text, actions, 64, cpu, picture)
    with torch.inference_mode():
        found = network.encode(together)
        for row, action in enumerate(actions):
            alone, _, _ = scored_actions(tokenizer, [text], [action], 64, cpu, picture[None])
            count = int(lengths[row])
            torch.testing.assert_close(found[row, :count], network.encode(alone)[0, :count])


@pytest.mark.parametrize(("whole", "pointing"), [
    (False, {"pointers": 2}), (True, {"pointers": 2}), (True, {"candidates": True}),
])  # fmt: skip
def test_lines_are_chosen_whose_names_no_action_of_the_data_had(whole: bool, pointing: dict[str, Any]) -> None:
    # Which of two boxes is red: its name is to be written, or its line says how to open it. Boxes 5 to 8 were never
    # asked for.
    def example(name: int, other: int, first: bool) -> tuple[str, str]:
        boxes = [f"open {name} red", f"open {other} blue"]
        return "\n".join(boxes if first else boxes[::-1]) + "\n", f"open {name}\n"

    names = range(1, 9)
    every = [(a, b, first) for a in names for b in names if a != b for first in (True, False)]
    known = [each for each in every if each[0] < 5]
    new = [each for each in every if each[0] > 4]
    texts, actions = [example(*each)[0] for each in every], [f"open {name}\n" for name in names]
    tokenizer = TextTokenizer.fit(iter(texts), actions, 290)
    if whole:
        tokenizer = WholeActionTokenizer.fit(iter(texts), actions, 290, quotes=True)
    torch.manual_seed(0)
    shape = LineTransformerShape(
        bins=tokenizer.bins, outputs=tokenizer.bins, vocabulary=tokenizer.vocabulary, context=32, columns=4,
        end_of_line=tokenizer.end_of_line, padding=tokenizer.padding, width=16, layers=1, heads=2,
        dimensions=tokenizer.dimensions, above=False, **pointing,
    )  # fmt: skip
    network = shape.network()
    optimizer = torch.optim.Adam(network.parameters(), lr=0.01, weight_decay=1e-4)

    def logits(chosen: list[tuple[int, int, bool]]) -> tuple[torch.Tensor, torch.Tensor]:
        texts, actions = zip(*(example(*each) for each in chosen), strict=True)
        observation, tokens, _ = scored_actions(tokenizer, texts, actions, 32, torch.device("cpu"))
        return network(network.encode(observation), tokens), tokens

    for _ in range(150):
        found, tokens = logits(known)
        optimizer.zero_grad()
        torch.nn.functional.cross_entropy(found.flatten(0, 1), tokens.flatten()).backward()
        optimizer.step()
    with torch.inference_mode():
        found, tokens = logits(new)
    # The bias knows which were never asked for; among these, the lines decide.
    asked = tokenizer.encode(actions[4:] if whole else actions)[0]
    place = 0 if whole else int((tokens[0] == tokenizer.end_of_line).nonzero()[0, 0]) - 1
    names_of = torch.from_numpy(asked[:, place]).unique()
    best = names_of[found[:, place, names_of].argmax(dim=-1)]
    assert (best == tokens[:, place]).float().mean() > 0.9


@pytest.mark.parametrize(("candidates", "weights"), [(True, False), (True, True), (False, False)])
def test_q_of_a_listed_action_may_be_what_its_line_scores_alone(candidates: bool, weights: bool) -> None:
    shape = LineTransformerShape(
        bins=3, outputs=3, vocabulary=8, context=8, end_of_line=1, padding=0, columns=2, width=8, layers=1, heads=2,
        above=False, candidates=candidates,
    )  # fmt: skip
    algorithm = QSFT(shape, QsftConfig(action_weights=weights), ValueRange())
    algorithm.prepare_training(shape.network())
    network = algorithm.network("likelihood")
    optimizer = torch.optim.Adam(algorithm.trained_parameters(), lr=0.1)
    # The last three tokens are the actions; the second is listed and was taken, and its outcome was good.
    stream, end = torch.tensor([[4, 1, 6, 3, 1]]), torch.tensor([[4]])

    def logits() -> torch.Tensor:
        found: torch.Tensor = network(network.encode({"stream": stream, "positions": end}), torch.tensor([[1]]))
        return found[0, 0]

    before = logits().detach()
    for _ in range(3):
        optimizer.zero_grad()
        (-logits()[1]).backward()
        optimizer.step()
    after = logits().detach()
    assert after[1] > before[1]
    assert torch.equal(after[[0, 2]], before[[0, 2]])
    # What was learned is the line's, where actions have no weights: unlisted, the same action is worth what it was.
    stream = torch.tensor([[4, 1, 2, 3, 1]])
    assert torch.equal(logits()[1], before[1]) == (candidates and not weights)


def test_lines_quote_the_longest_action_that_they_begin_with() -> None:
    actions = ["open box", "open box 1", "go"]
    tokenizer = WholeActionTokenizer.fit(iter(["open box 1 red"]), actions, 280, quotes=True)
    plain = WholeActionTokenizer(tokenizer.encoding, tokenizer.actions, tokenizer.room)

    def quoted(line: str) -> str | None:
        tokens = tokenizer.observation(line)
        rest = plain.observation(line)
        if tokens == rest:
            return None
        assert tokens[1:] == rest
        return tokenizer.actions[tokens[0] - plain.vocabulary]

    assert [quoted(line) for line in ("open box 1 red", "open box 2", "open box", "open boxes", "to go", "go")] == [
        "open box 1", "open box", "open box", None, None, "go",
    ]  # fmt: skip
    assert tokenizer.vocabulary == plain.vocabulary + 3
    assert len(tokenizer.written("open box 1\n")) <= tokenizer.room
    assert tokenizer.words(["go"]) == {*plain.observation("go"), *plain.observation(" go")}
    again = WholeActionTokenizer.from_dict(tokenizer.to_dict())
    assert again.observation("open box 1 red\n") == tokenizer.observation("open box 1 red\n")


@pytest.mark.parametrize("changes", [[], ["model.pointers=0", "model.candidates=true"]])
def test_pointers_at_whole_actions_are_refused_where_no_line_begins_with_one(changes: list[str]) -> None:
    model = load(TrainConfig, ["sim=webshop", *changes]).model
    learned = learn_tokenizer(model, iter(["open it", "a box\nopen box 1\n"]), ["open\n"])
    assert isinstance(learned, WholeActionTokenizer) and learned.quotes
    with pytest.raises(ConfigurationError, match="choose model"):
        learn_tokenizer(model, iter(["a box\nopened\n", "open\n"]), ["open\n"])


def test_what_the_first_line_asks_for_is_marked_where_it_occurs_again() -> None:
    texts = ["get red\na red 1\n", "get blue\na red 1\n"]
    tokenizer = TextTokenizer.fit(iter(texts), ["go\n"], 280)
    torch.manual_seed(0)
    shape = LineTransformerShape(
        bins=4, outputs=4, vocabulary=tokenizer.vocabulary, end_of_line=tokenizer.end_of_line,
        padding=tokenizer.padding, context=64, columns=1, width=16, layers=1, heads=2, instruction_lines=1,
        above=False,
    )  # fmt: skip
    network = shape.network()

    def logits(text: str) -> torch.Tensor:
        with torch.inference_mode():
            return network.start(prompts(tokenizer, [text], 64, torch.device("cpu")))[1]

    torch.nn.init.zeros_(network.token.weight)  # what is left of a line is its marks
    assert not torch.allclose(logits("get red\na red 1\n"), logits("get blue\na red 1\n"))
    torch.testing.assert_close(logits("get red\na blue 1\n"), logits("get blue\na red 1\n"))
    # Whether it is the last word that is asked for or the one before makes a difference.
    torch.nn.init.zeros_(network.asked.weight)
    assert not torch.allclose(logits("get red blue\na red 1\n"), logits("get blue red\na red 1\n"))
    # A word that no action has is none that could be asked for.
    (blue,) = set(tokenizer.observation("get blue\n")) - set(tokenizer.observation("get red\n"))
    network.set_words([blue])
    torch.testing.assert_close(logits("get red blue\na red 1\n"), logits("get blue red\na red 1\n"))
    torch.testing.assert_close(logits("get red\na red 1\n"), logits("get blue\na red 1\n"))
    assert not torch.allclose(logits("get blue red\na blue 1\n"), logits("get blue red\na red 1\n"))


@pytest.mark.parametrize("kind", sorted(set(ALGORITHMS) - {"return_conditioned"}))
def test_every_algorithm_learns_from_text(kind: str, run: Path) -> None:
    policy = TokenAgent.from_checkpoint(run).policy
    assert isinstance(policy.tokenizer, TextTokenizer)
    (path,) = (run.parent / "data").glob("*.zarr")
    sampler = SegmentSampler([TrajectoryStore.open(path)], batch_size=16, segment_length=4, seed=3)
    settings = load(TrainConfig, [*SMALL, f"algorithm={kind}"]).algorithm
    torch.manual_seed(0)
    algorithm = make_algorithm(policy.algorithm.shape, settings, ValueRange(-6.0, 0.0))
    algorithm.observe_returns(np.array([-6.0, -6.0]))  # filtered cloning keeps all
    behaviour = policy.algorithm.network("behaviour").float()
    algorithm.prepare_training(behaviour if algorithm.needs_behaviour_policy else None)
    convert = TextConverter(policy.tokenizer, 96, torch.device("cpu"), behaviour)
    optimizer = torch.optim.Adam(algorithm.trained_parameters(), lr=3e-3)
    batch = convert(sampler.batch(0), torch.Generator())
    losses = []
    for _ in range(12):
        loss = algorithm.loss(batch)["loss"]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(float(loss.detach()))
    assert np.isfinite(losses).all() and losses[-1] < losses[0]
    agent = TokenAgent(Policy(algorithm, policy.tokenizer, {}, {}), "greedy")
    agent.reset(0)
    assert agent.act(as_observation("Wordle:\n")).endswith("\n")


def test_a_picture_stands_before_the_text_in_training_and_in_decoding() -> None:
    texts, actions = ["Held: nothing\n", "Held: a mug\nAt: desk 1\n"], ["take mug 1\n", "look\n"]
    tokenizer = TextTokenizer.fit(iter([*texts, *actions]), actions, 300)
    torch.manual_seed(0)
    shape = TextTransformerShape(
        dimensions=tokenizer.dimensions, bins=tokenizer.bins, outputs=tokenizer.bins, context=64, width=16, layers=2,
        heads=2, image=(24, 24), image_tokens=3,
    )  # fmt: skip
    network = shape.network().double().eval()
    pictures = np.random.default_rng(0).integers(0, 256, (2, 24, 24, 3), dtype=np.uint8)
    cpu = torch.device("cpu")
    with torch.inference_mode():
        observation, tokens, lengths = scored_actions(tokenizer, texts, actions, 64, cpu, pictures)
        whole = network(network.encode(observation), tokens)
        prompt = {**prompts(tokenizer, texts, 64, cpu), "image": torch.from_numpy(pictures)}
        cache, logits = network.start(prompt)
        for dimension in range(int(lengths.min())):
            if dimension:
                logits = network.step(cache, tokens[:, dimension - 1], dimension)
            torch.testing.assert_close(logits, whole[:, dimension])
        other = {**observation, "image": observation["image"].flip(0)}
        assert not torch.allclose(network(network.encode(other), tokens), whole)
    assert TextTransformerShape.from_dict(json.loads(json.dumps(shape.to_dict()))) == shape


def test_what_a_policy_does_can_be_collected_and_learned_from(run: Path, tmp_path: Path) -> None:
    stores = []
    for workers in (1, 2):
        path = tmp_path / f"{workers}.zarr"
        words = ["sim=wordle", f"checkpoint={run}", "episodes=4", f"workers={workers}", f"dataset={path}"]
        words += ["decoding=sharp", "temperature=1.5"]
        assert collect(load(CollectConfig, words))["episodes"] == 4
        stores.append(TrajectoryStore.open(path))
    assert stores[0].attributes["checkpoint"] == str(run) and stores[0].episode(0).policy == "qsft_sharp"
    assert [texts_of(stores[0], index) for index in range(4)] == [texts_of(stores[1], index) for index in range(4)]
    with pytest.raises(ConfigurationError, match=r"temperature: 1\.5, now 2"):
        collect(load(CollectConfig, [*words, "temperature=2"]))
    with pytest.raises(ConfigurationError, match="temperature is for checkpoint= with decoding=sharp or mode"):
        load(CollectConfig, [*words, "decoding=greedy"])
    with pytest.raises(ConfigurationError, match="decoding=greedy is for what a checkpoint does"):
        load(CollectConfig, ["sim=wordle", "decoding=greedy"])
    with pytest.raises(ConfigurationError, match="imperfections are the scripted agent's"):
        load(CollectConfig, [*words, "sim.imperfections={random_guess: 0.5}"])
    with pytest.raises(QsftRobotError, match="nowhere"):
        collect(load(CollectConfig, ["sim=wordle", "checkpoint=nowhere", f"dataset={tmp_path / 'none.zarr'}"]))
    assert not (tmp_path / "none.zarr").exists()
    # What it learns from them next, it learns in the same tokens; pi_phi is what collected them.
    policy = TokenAgent.from_checkpoint(run).policy
    config = load(
        TrainConfig,
        [
            *SMALL,
            f"model={policy.config['model']['name']}",
            "preset=smoke",
            f"initialise_from={run}",
            "training.behaviour_steps=1",
            f"dataset=[{stores[0].path},{stores[1].path}]",
            f"run={tmp_path / 'run'}",
            "evaluation.episodes=3",
            "evaluation.workers=1",
            "evaluation.compare=false",
        ],
    )
    Experiment(config).run()
    again = TokenAgent.from_checkpoint(tmp_path / "run").policy.tokenizer
    texts = ["wordle:\n", stores[0].episode(0).actions[0]]
    assert [again.observation(each) for each in texts] == [policy.tokenizer.observation(each) for each in texts]
    words = [f"initialise_from={tmp_path / 'nothing'}", f"dataset={stores[0].path}", f"run={tmp_path / 'stranger'}"]
    stranger = load(TrainConfig, ["sim=wordle", *words])
    with pytest.raises(QsftRobotError, match="nothing"):
        Experiment(stranger).run()


def test_data_in_other_words_than_those_of_the_game_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "pages.zarr"
    collect(
        load(CollectConfig, ["sim=webshop", "sim.options.notation=page", "episodes=2", "workers=1", f"dataset={path}"])
    )
    config = load(TrainConfig, ["sim=webshop", f"dataset={path}"])
    with pytest.raises(ConfigurationError, match="notation=page"):
        open_data([path], config, 1, ["text"])
    config = load(TrainConfig, ["sim=webshop", f"dataset={path}", "sim.options.notation=page", "model.pointers=0"])
    assert len(open_data([path], config, 1, ["text"]).stores) == 1
