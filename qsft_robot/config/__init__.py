"""Configuration: Hydra's YAML groups (sim=, algorithm=, model=, suite=, preset=) over typed dataclasses.

    from qsft_robot.config import TrainConfig, load
    config = load(TrainConfig, ["sim=pick_place", "training.learning_rate=1e-3"])
    config.training.learning_rate

Defaults and limits stand once, in the classes (schema.py, household.py, language.py, algorithms.py, suites.py,
commands.py).
A YAML file holds what an option changes. `kind` in it names the class that describes the option.
"""

from qsft_robot.config.algorithms import AlgorithmConfig, BehaviourCloningConfig, QsftConfig
from qsft_robot.config.commands import (
    BenchmarkConfig,
    CollectConfig,
    DatasetConfig,
    EvaluateConfig,
    TrainConfig,
)
from qsft_robot.config.compose import load, options_of
from qsft_robot.config.fields import choice, kind, section, setting, settings
from qsft_robot.config.household import HouseholdConfig, HouseholdOptions
from qsft_robot.config.language import (
    ChessConfig,
    ChessEndgameConfig,
    ChessEndgameOptions,
    ChessOptions,
    TwentyQuestionsConfig,
    TwentyQuestionsOptions,
    WebShopConfig,
    WebShopOptions,
    WordleConfig,
    WordleOptions,
)
from qsft_robot.config.resolved import (
    collection_options,
    dataset_path,
    differently_told,
    differing_settings,
    evaluation_options,
    from_dict,
    read_yaml,
    run_folder,
    to_dict,
    to_yaml,
    with_changes,
)
from qsft_robot.config.schema import (
    CountertopConfig,
    CountertopOptions,
    DrawerConfig,
    DrawerOptions,
    EvaluationConfig,
    ModelConfig,
    RoboticsTransformerConfig,
    SimConfig,
    TokenizationConfig,
    TrainingConfig,
)
from qsft_robot.config.suites import SuiteConfig

__all__ = [
    "AlgorithmConfig",
    "BehaviourCloningConfig",
    "BenchmarkConfig",
    "ChessConfig",
    "ChessEndgameConfig",
    "ChessEndgameOptions",
    "ChessOptions",
    "CollectConfig",
    "CountertopConfig",
    "CountertopOptions",
    "DatasetConfig",
    "DrawerConfig",
    "DrawerOptions",
    "EvaluateConfig",
    "EvaluationConfig",
    "HouseholdConfig",
    "HouseholdOptions",
    "ModelConfig",
    "QsftConfig",
    "RoboticsTransformerConfig",
    "SimConfig",
    "SuiteConfig",
    "TokenizationConfig",
    "TrainConfig",
    "TrainingConfig",
    "TwentyQuestionsConfig",
    "TwentyQuestionsOptions",
    "WebShopConfig",
    "WebShopOptions",
    "WordleConfig",
    "WordleOptions",
    "choice",
    "collection_options",
    "dataset_path",
    "differently_told",
    "differing_settings",
    "evaluation_options",
    "from_dict",
    "kind",
    "load",
    "options_of",
    "read_yaml",
    "run_folder",
    "section",
    "setting",
    "settings",
    "to_dict",
    "to_yaml",
    "with_changes",
]
