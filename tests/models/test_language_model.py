"""Pretrained causal language models: adapters over one shared model, decoding, checkpoints, loading."""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path

import pytest
import torch

from qsft_robot.agents.base import as_observation
from qsft_robot.agents.token_agent import TokenAgent
from qsft_robot.algorithms import ValueRange, make_algorithm
from qsft_robot.config import TrainConfig, load
from qsft_robot.errors import ConfigurationError
from qsft_robot.models import language_model
from qsft_robot.models.language_model import LanguageModel, LanguageModelShape
from qsft_robot.models.pretrained import load_model, tokenizer_of
from qsft_robot.tokenization import TextTokenizer
from qsft_robot.training.policy_files import Policy, save_policy
from qsft_robot.training.text import prompts, scored_actions

pytest.importorskip("peft", reason="needs the extra `language`")

TEXTS = ["Wordle:\ns h i r e\nb y g g b\n", "Wordle:\n"]
ACTIONS = ["a b o u t\n", "s h i r e\n"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small random model of the same class as SmolLM2, as save_pretrained writes it."""
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    path = tmp_path_factory.mktemp("model")
    tokenizer = TextTokenizer.fit(iter([*TEXTS, *ACTIONS, "\n\n"]), ACTIONS, 300)
    fast = PreTrainedTokenizerFast(tokenizer_object=tokenizer.encoding, pad_token="<padding>")
    fast.save_pretrained(path)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=tokenizer.bins + 4,  # models often have more rows than their tokenizer has tokens
        hidden_size=32,
        intermediate_size=48,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
    )
    LlamaForCausalLM(config).save_pretrained(path)
    return str(path)


def tokenizer_for(folder: str) -> TextTokenizer:
    return TextTokenizer.pretrained(tokenizer_of(folder), ACTIONS)


def shape_for(folder: str, **changes: object) -> LanguageModelShape:
    tokenizer = tokenizer_for(folder)
    sizes = {"dimensions": tokenizer.dimensions, "bins": tokenizer.bins, "outputs": tokenizer.bins, "context": 64}
    return LanguageModelShape(**{**sizes, "source": folder, "rank": 4, "alpha": 8, **changes})  # type: ignore[arg-type]


def scores(network: LanguageModel, folder: str) -> torch.Tensor:
    observation, tokens, _ = scored_actions(tokenizer_for(folder), TEXTS, ACTIONS, 64, CPU)
    return network(network.encode(observation), tokens)


@pytest.mark.parametrize("adapters", ["lora", "none"])
def test_a_fresh_network_is_the_pretrained_model(folder: str, adapters: str) -> None:
    network = shape_for(folder, adapters=adapters).network().eval()
    tokenizer = tokenizer_for(folder)
    row = [*tokenizer.observation(TEXTS[1]), *tokenizer.action(ACTIONS[1])]
    with torch.no_grad():
        expected = load_model(folder)(torch.tensor([row])).logits[0, -7:-1, : tokenizer.bins]
        observation, tokens, _ = scored_actions(tokenizer, TEXTS[1:], ACTIONS[1:], 64, CPU)
        torch.testing.assert_close(network(network.encode(observation), tokens)[0], expected)


def test_networks_share_one_model_and_do_not_disturb_each_other(folder: str) -> None:
    first, second = shape_for(folder).network(), shape_for(folder).network()
    assert first.base is second.base
    before = scores(second, folder).detach()
    optimizer = torch.optim.Adam([each for each in first.parameters() if each.requires_grad], lr=0.05)
    for _ in range(3):
        optimizer.zero_grad()
        scores(first, folder).square().mean().backward()
        optimizer.step()
    assert not torch.allclose(scores(first, folder), before, atol=1e-3)
    assert torch.equal(scores(second, folder), before)
    target = first.frozen_copy()
    assert torch.equal(scores(target, folder), scores(first, folder))
    assert not any(each.requires_grad for each in target.parameters())
    assert all(each.requires_grad for each in first.parameters())


def test_the_shared_model_goes_where_a_network_goes(folder: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(language_model, "_bases", {})
    network = shape_for(folder).network().to("meta")  # a device that every machine has
    assert {each.device.type for each in network.base.parameters()} == {"meta"}


def test_activations_computed_again_are_those_of_the_same_network(folder: str) -> None:
    gradients, calls = [], []
    for checkpointing in (False, True):
        torch.manual_seed(2)
        shape = shape_for(folder, gradient_checkpointing=checkpointing)
        network, other = shape.network().train(), shape.network().train()
        with torch.no_grad():
            for parameter in [*network.parameters(), *other.parameters()]:
                parameter.add_(0.1 * torch.randn_like(parameter))
        layer = network.base.model.layers[0].mlp
        hook = layer.register_forward_pre_hook(partial(note, calls, checkpointing))
        loss = scores(network, folder).square().mean()
        with torch.no_grad():
            scores(other, folder)  # as a target is asked between a loss and its gradient
        loss.backward()
        hook.remove()
        gradients.append([parameter.grad for parameter in network.parameters()])
    assert (calls.count(False), calls.count(True)) == (2, 3)
    for kept, recomputed in zip(*gradients, strict=True):
        torch.testing.assert_close(kept, recomputed)


def note(calls: list[bool], what: bool, *_: object) -> None:
    calls.append(what)


def test_decoding_with_the_cache_gives_the_scores_of_one_pass(folder: str) -> None:
    network = shape_for(folder).network().eval()
    tokenizer = tokenizer_for(folder)
    _, tokens, lengths = scored_actions(tokenizer, TEXTS, ACTIONS, 64, CPU)
    with torch.inference_mode():
        whole = scores(network, folder)
        cache, logits = network.start(prompts(tokenizer, TEXTS, 64, CPU))
        for dimension in range(int(lengths.min())):
            if dimension:
                logits = network.step(cache, tokens[:, dimension - 1], dimension)
            torch.testing.assert_close(logits, whole[:, dimension], atol=1e-4, rtol=1e-4)


def test_q_sft_starts_from_the_pretrained_logits_with_no_new_head(folder: str) -> None:
    settings = load(TrainConfig, ["sim=wordle", "algorithm=qsft"]).algorithm
    algorithm = make_algorithm(shape_for(folder), settings, ValueRange())
    algorithm.prepare_training(None)
    assert not any("head" in name for name in algorithm.networks.state_dict())
    observation, tokens, _ = scored_actions(tokenizer_for(folder), TEXTS, ACTIONS, 64, CPU)
    with torch.no_grad():
        values = algorithm.values(algorithm.all_logits(observation, tokens))
    assert values is not None
    torch.testing.assert_close(values, torch.full_like(values, settings.initial_value))  # type: ignore[attr-defined]
    with pytest.raises(ConfigurationError, match="new head"):
        direct = load(
            TrainConfig, ["sim=wordle", "algorithm.parameterisation=direct", "algorithm.leftover=dummy"]
        ).algorithm
        make_algorithm(shape_for(folder), direct, ValueRange())


@pytest.mark.parametrize("kind", ["bc", "ilql", "cql", "qsft"])
def test_a_checkpoint_acts_the_same_in_a_fresh_process(folder: str, tmp_path: Path, kind: str) -> None:
    settings = load(TrainConfig, ["sim=wordle", f"algorithm={kind}"]).algorithm
    torch.manual_seed(1)
    algorithm = make_algorithm(shape_for(folder), settings, ValueRange())
    algorithm.prepare_training(None)
    with torch.no_grad():
        for parameter in algorithm.networks.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    save_policy(tmp_path / "policy", Policy(algorithm.eval(), tokenizer_for(folder), {}, {}))
    agent = TokenAgent.from_checkpoint(tmp_path, "sample")
    agent.reset(3)
    here = [agent.act(as_observation(text)) for text in TEXTS]
    code = (
        "import json, sys; from qsft_robot.agents.base import as_observation\n"
        "from qsft_robot.agents.token_agent import TokenAgent\n"
        "agent = TokenAgent.from_checkpoint(sys.argv[1], 'sample'); agent.reset(3)\n"
        "print(json.dumps([agent.act(as_observation(text)) for text in json.loads(sys.argv[2])]))"
    )
    command = [sys.executable, "-c", code, str(tmp_path), json.dumps(TEXTS)]
    there = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    assert json.loads(there.splitlines()[-1]) == here


def test_a_model_that_is_not_there_is_named() -> None:
    with pytest.raises(ConfigurationError, match="no_such_folder"):
        load_model("./no_such_folder")
    with pytest.raises(ConfigurationError, match="name="):
        load(TrainConfig, ["sim=wordle", "model=hf"])
    with pytest.raises(ConfigurationError, match="model=hf"):
        load(TrainConfig, ["sim=wordle", "name=gpt2"])
