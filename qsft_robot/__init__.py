"""qsft_robot: offline reinforcement learning of policies over action tokens, with Q-SFT."""

from pathlib import Path as _Path

__version__ = "0.1.0"

# In a checkout, agents/, sim/, hardware/ and datasets/ stand at the repository root; in a wheel they lie in here.
_root = _Path(__file__).resolve().parent.parent
if (_root / "pyproject.toml").is_file() and str(_root) not in __path__:
    __path__.append(str(_root))
