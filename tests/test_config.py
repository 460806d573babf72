"""The configuration: what it composes, what it refuses, and how it says so."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal

import pytest

from qsft_robot.config import (
    BenchmarkConfig,
    CollectConfig,
    DatasetConfig,
    EvaluateConfig,
    QsftConfig,
    TrainConfig,
    collection_options,
    dataset_path,
    evaluation_options,
    from_dict,
    load,
    options_of,
    read_yaml,
    run_folder,
    section,
    setting,
    settings,
    to_dict,
    to_yaml,
    with_changes,
)
from qsft_robot.config.build import build
from qsft_robot.config.compose import all_keys
from qsft_robot.config.fields import groups_of
from qsft_robot.config.robots import DeployConfig
from qsft_robot.errors import ConfigurationError

command_classes = [CollectConfig, TrainConfig, EvaluateConfig, BenchmarkConfig]


def refused(config_class: type, *words: str) -> str:
    """The message with which the words are refused."""
    with pytest.raises(ConfigurationError) as raised:
        load(config_class, words)
    return str(raised.value)


def test_defaults_compose() -> None:
    config = load(TrainConfig)
    assert config.sim.name == "pick_place"
    assert config.sim.env_id == "qsft_robot/PickPlace-v0"
    assert isinstance(config.algorithm, QsftConfig)
    assert config.algorithm.discount == 0.98
    assert config.training.learning_rate > 0


def every_option() -> Iterator[tuple[type, str]]:
    for config_class in command_classes:
        for group in groups_of(config_class):
            for option in options_of(group):
                yield config_class, f"{group}={option}"


@pytest.mark.parametrize(("config_class", "word"), list(every_option()))
def test_every_option_of_every_group_composes(config_class: type, word: str) -> None:
    text = word.startswith("model=") and word not in ("model=tiny", "model=rt1")
    words = [word] if word.startswith("sim=") else [word, "sim=wordle" if text else "sim=pick_place"]
    if word in ("model=hf", "model=llava_next") and config_class is TrainConfig:
        words.append("name=a_model")
    group, _, option = word.partition("=")
    config = load(config_class, words)
    chosen = getattr(config, group)
    assert (chosen if group == "preset" else chosen.name) == option


def test_a_policy_is_played_as_when_it_was_trained_unless_told_otherwise() -> None:
    training = load(TrainConfig, ["sim=alfworld", "evaluation.temperature=0.7"]).evaluation
    left_open = load(EvaluateConfig, ["checkpoint=runs/mine"]).evaluation.completed_by(training)
    assert (left_open.temperature, left_open.legal_only, left_open.repetition_penalty) == (0.7, True, 0.5)
    words = ["checkpoint=runs/mine", "evaluation.temperature=0.2", "evaluation.legal_only=false"]
    told = load(EvaluateConfig, words).evaluation.completed_by(training)
    assert (told.temperature, told.legal_only, told.repetition_penalty) == (0.2, False, 0.0)
    words = ["checkpoint=runs/mine", "evaluation.repetition_penalty=0"]
    assert load(EvaluateConfig, words).evaluation.completed_by(training).repetition_penalty == 0.0


def test_an_environments_options_may_be_named_alone_when_it_is_evaluated() -> None:
    alone = load(EvaluateConfig, ["sim=alfworld", "split=valid_seen", "task_types=[look_at_obj_in_light]"])
    assert alone == load(
        EvaluateConfig, ["sim=alfworld", "options.split=valid_seen", "options.task_types=[look_at_obj_in_light]"]
    )
    assert alone.options == {"split": "valid_seen", "task_types": ["look_at_obj_in_light"]}
    assert "did you mean 'options.split'" in refused(EvaluateConfig, "sim=alfworld", "splot=seen")
    assert "unknown key 'split'" in refused(EvaluateConfig, "checkpoint=runs/mine", "split=seen")
    assert "did you mean 'sim.options.split'" in refused(TrainConfig, "sim=alfworld", "split=seen")


def test_a_repetition_penalty_without_legal_actions_is_refused_before_anything_is_collected() -> None:
    assert "legal_only=true" in refused(TrainConfig, "sim=alfworld", "evaluation.legal_only=false")


def test_games_bring_settings_for_their_model_and_their_algorithm() -> None:
    played = load(TrainConfig, ["sim=twenty_questions"])
    assert (played.algorithm.backup_temperature, played.evaluation.repetition_penalty) == (0.2, 3.0)
    rival = load(TrainConfig, ["sim=twenty_questions", "algorithm=ilql"]).evaluation
    assert (rival.legal_only, rival.repetition_penalty) == (True, 3.0)
    assert load(TrainConfig, ["sim=twenty_questions", "model=tiny_text"]).evaluation.legal_only is None
    for config_class in (CollectConfig, TrainConfig, EvaluateConfig):
        assert load(config_class, ["sim=webshop"]).sim.options.notation == "actions"
    for sim in ("chess", "chess_endgame"):
        assert load(TrainConfig, [f"sim={sim}"]).model.candidates
        assert "candidates=false" in refused(TrainConfig, f"sim={sim}", "sim.options.notation=pieces")
    assert "greater than 0" in refused(TrainConfig, "algorithm.backup_temperature=0")


def test_a_served_policy_is_played_at_the_temperature_of_its_server() -> None:
    assert "server" in refused(DeployConfig, "policy=ws://127.0.0.1:8731", "temperature=0.5")
    assert load(DeployConfig, ["checkpoint=runs/mine", "temperature=0.5"]).temperature == 0.5


@pytest.mark.parametrize("sim", options_of("sim"))
def test_the_full_preset_is_never_the_smaller_one(sim: str) -> None:
    full, default = (load(TrainConfig, [f"sim={sim}", f"preset={preset}"]) for preset in ("full", "default"))
    assert full.episodes >= default.episodes
    assert full.training.steps >= default.training.steps


@pytest.mark.parametrize(("sim", "model"), [("wordle", "tiny"), ("pick_place", "tiny_text")])
def test_a_model_of_another_kind_is_refused_before_anything_is_collected(sim: str, model: str) -> None:
    assert f"model={model} does not" in refused(TrainConfig, f"sim={sim}", f"model={model}")


@pytest.mark.parametrize("preset", options_of("preset"))
@pytest.mark.parametrize("sim", options_of("sim"))
def test_every_preset_composes_with_every_sim(sim: str, preset: str) -> None:
    for config_class in (CollectConfig, TrainConfig):
        load(config_class, [f"sim={sim}", f"preset={preset}"])


def test_yaml_files_set_only_keys_that_some_command_has() -> None:
    # A command leaves aside what a file sets for others, so a misspelt top-level key would go unnoticed.
    import yaml

    known = {key for config_class in command_classes for key in all_keys(config_class) if "." not in key}
    folder = Path(sys.modules["qsft_robot.config"].__file__ or "").parent
    for file in folder.rglob("*.yaml"):
        text = file.read_text(encoding="utf-8")
        if "@package _global_" in text:
            assert set(yaml.safe_load(text) or {}) - {"defaults"} <= known, file


def test_command_line_comes_last() -> None:
    config = load(TrainConfig, ["training.steps=7", "preset=smoke", "sim=drawer_grasp"])
    assert config.training.steps == 7
    assert config.sim.name == "drawer_grasp"


def test_values_keep_their_types() -> None:
    words = [
        "training.batch_size=1e2",
        "training.segment_length=4",
        "training.learning_rate=1",
        "training.compile=true",
    ]
    config = load(TrainConfig, [*words, "dataset=[a.zarr,b.zarr]", "run=null"])
    assert config.training.batch_size == 100
    assert isinstance(config.training.batch_size, int)
    assert isinstance(config.training.learning_rate, float)
    assert config.training.compile is True
    assert config.dataset == ["a.zarr", "b.zarr"]
    assert config.run is None


@pytest.mark.parametrize("path", ["runs/a b (1)", "runs/a=b,c", "'quoted'", "äöü/x.zarr", "123"])
def test_paths_are_taken_as_typed(path: str) -> None:
    assert load(TrainConfig, [f"run={path}"]).run == path.strip("'")


def test_options_can_differ_in_evaluation() -> None:
    config = load(TrainConfig, ["sim.evaluation.object_set=held_out", "sim.options.image_size=64"])
    assert collection_options(config.sim)["object_set"] == "train"
    assert evaluation_options(config.sim)["object_set"] == "held_out"
    assert evaluation_options(config.sim)["image_size"] == 64
    assert evaluation_options(config.sim, {"image_size": 32})["image_size"] == 32
    with pytest.raises(ConfigurationError, match="did you mean 'image_size'"):
        evaluation_options(config.sim, {"image_sise": 32})


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["sim=pick_plac"], "unknown sim 'pick_plac'; did you mean 'pick_place'? available: "),
        (["algorithm=qsf"], "unknown algorithm 'qsf'; did you mean 'qsft'?"),
        (["preset=zzz"], "unknown preset 'zzz'; available: default, full, smoke"),
        (["algoritm=qsft"], "unknown key 'algoritm'; did you mean 'algorithm'?"),
        (
            ["training.learning_rat=1"],
            "unknown key 'training.learning_rat'; did you mean 'training.learning_rate'?",
        ),
        (["trainin.learning_rate=1"], "did you mean 'training.learning_rate'?"),
        (["learning_rate=1"], "unknown key 'learning_rate'; did you mean 'training.learning_rate'?"),
        (["sim.options.image_sise=3"], "did you mean 'sim.options.image_size'?"),
        (["sim.evaluation.object_st=held_out"], "did you mean 'object_set'?"),
        (
            ["sim.evaluation.object_set=none"],
            "sim.evaluation.object_set = 'none': unknown value; available: train, held_out",
        ),
        (["sim.imperfections.grasp_nois=0.1"], "did you mean 'grasp_noise'?"),
        (["sim.imperfections.grasp_noise=-1"], "sim.imperfections.grasp_noise = -1: must be at least 0"),
        (["sim.imperfections.grasp_noise=abc"], "sim.imperfections.grasp_noise = 'abc': expected a number"),
        (["seed.x=1"], "'seed' has no keys of its own"),
        (["training.learning_rate=-0.1"], "training.learning_rate = -0.1: must be greater than 0"),
        (["training.learning_rate=nan"], "training.learning_rate = nan: must be a finite number"),
        (["training.learning_rate=abc"], "training.learning_rate = 'abc': expected a number"),
        (["training.steps=1.5"], "training.steps = 1.5: expected an integer"),
        (["training.steps=true"], "training.steps = True: expected an integer"),
        (["training.compile=maybe"], "training.compile = 'maybe': expected true or false"),
        (["training.precision=fp16"], "training.precision = 'fp16': unknown value; "),
        (["algorithm.leftover=uniform"], "algorithm: parameterisation=residual leaves probability to dummy tokens"),
        (
            ["algorithm.parameterisation=direct"],
            "algorithm: parameterisation=direct has one dummy token at most",
        ),
        (
            ["training.batch_size=100", "training.segment_length=8"],
            "training: batch_size=100 must be a multiple of segment_length",
        ),
        (["sim=wordle", "evaluation.decoding=mode"], "evaluation.decoding=mode is for actions of numbers"),
        (["training=3"], "training = 3: expected a section"),
        (
            ["sim.options.cameras=[front,frnt]"],
            "sim.options.cameras[1] = 'frnt': unknown value; did you mean 'front'?",
        ),
        (["sim.options.drawer=open"], "unknown key 'sim.options.drawer'"),
        (["seed=1,2"], "seed=1,2: takes one value"),
        (["seed=[1"], "seed=[1: the value cannot be read"),
        (["--seed=1"], "'--seed=1': keys stand without '--': seed=1"),
        (["~preset"], "'~preset' is not of the form key=value"),
        (["smoke"], "'smoke' is not of the form key=value"),
        (["training.steps=${nothing}"], "cannot be resolved"),
        (["resume=true"], "resume=true needs run="),
        (["sim=null"], "unknown sim 'null'"),
    ],
)
def test_mistakes_are_named(words: list[str], message: str) -> None:
    assert message in refused(TrainConfig, *words)


def test_all_mistakes_are_told_at_once() -> None:
    words = [
        "sim=pick_plac",
        "algoritm=qsft",
        "training.learning_rat=1",
        "training.steps=-1",
        "evaluation.episodes=0",
    ]
    assert len(refused(TrainConfig, *words).splitlines()) == 5


def test_a_missing_key_is_named() -> None:
    assert "'dataset' must be given" in refused(DatasetConfig, "action=info")
    assert "checkpoint=" in refused(EvaluateConfig)
    assert "can be set only when sim is chosen" in refused(EvaluateConfig, "sim.options.image_size=64")


def test_saved_configuration_reads_back(tmp_path: Path) -> None:
    config = load(TrainConfig, ["sim=drawer_grasp", "algorithm=bc", "model=rt1", "dataset=[a,b]"])
    assert from_dict(TrainConfig, to_dict(config)) == config
    (tmp_path / "config.yaml").write_text(to_yaml(config), encoding="utf-8")
    assert read_yaml(TrainConfig, tmp_path / "config.yaml") == config


def test_damaged_saved_configuration_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "config.yaml"
    with pytest.raises(ConfigurationError, match="there is no configuration at"):
        read_yaml(TrainConfig, file)
    file.write_text("a: [", encoding="utf-8")
    with pytest.raises(ConfigurationError, match="is damaged"):
        read_yaml(TrainConfig, file)
    file.write_text(to_yaml(load(TrainConfig)).replace("kind: qsft", "kind: qsf"), encoding="utf-8")
    with pytest.raises(ConfigurationError, match=r"algorithm.kind = 'qsf': unknown kind; did you mean 'qsft'"):
        read_yaml(TrainConfig, file)


def test_changes_are_checked() -> None:
    config = load(TrainConfig)
    assert with_changes(config.training, {"steps": 3}).steps == 3
    assert with_changes(config, {"seed": 3}).seed == 3
    with pytest.raises(ConfigurationError, match="steps = -1: must be at least 0"):
        with_changes(config.training, {"steps": -1})


def test_paths_that_follow_from_a_configuration() -> None:
    config = load(TrainConfig, ["episodes=5", "seed=2"])
    assert dataset_path(config) == Path("data/pick_place-5-2.zarr")
    assert run_folder(config).parts[:3] == ("runs", "pick_place", "qsft")
    assert run_folder(with_changes(config, {"run": "x"})) == Path("x")
    with pytest.raises(ConfigurationError, match="list of datasets"):
        dataset_path(with_changes(config, {"dataset": ["a"]}))


@settings
class Inner:
    size: int = setting(1, minimum=1, maximum=3)
    names: dict[str, float] = setting({}, below=1)


@settings
class Outer:
    inner: Inner = section(Inner)
    mode: Literal["a", "b"] | None = setting(None)
    pair: tuple[float, ...] = setting((), above=0)
    anything: Any = setting(None)


def test_builder_checks_nested_values() -> None:
    outer = build(Outer, {"inner": {"size": 2.0}, "mode": "b", "pair": [1, 2.5], "anything": {"x": object}})
    assert outer.inner.size == 2
    assert outer.pair == (1.0, 2.5)
    with pytest.raises(ConfigurationError) as raised:
        build(Outer, {"inner": {"size": 4, "names": {"x": 1}}, "mode": "c", "pair": [0], "innr": 1})
    assert str(raised.value).splitlines() == [
        "unknown key 'innr'; did you mean 'inner'?",
        "inner.size = 4: must be at most 3",
        "inner.names.x = 1: must be less than 1",
        "mode = 'c': expected a | b or null",
        "pair[0] = 0: must be greater than 0",
    ]


def test_a_mistake_is_told_before_anything_heavy_is_imported(root: Path) -> None:
    code = (
        "import sys\n"
        "from qsft_robot.config import TrainConfig, load\n"
        "try:\n    load(TrainConfig, ['sim=pick_plac'])\n"
        "except Exception as error:\n    print(type(error).__name__)\n"
        "print(sorted({'torch', 'zarr', 'pybullet', 'numpy', 'gymnasium'} & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == ["ConfigurationError", "[]"]


def test_limit_of_seeds_is_the_stores() -> None:
    from qsft_robot.datasets.seeds import LARGEST_BASE_SEED

    for words in (["seed={}"], ["evaluation.seed={}"]):
        load(TrainConfig, [word.format(LARGEST_BASE_SEED) for word in words])
        assert "must be at most" in refused(TrainConfig, *[word.format(LARGEST_BASE_SEED + 1) for word in words])
