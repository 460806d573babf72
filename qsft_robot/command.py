"""What every command has in common: its configuration, logs, result, exit code.

A command's module ends in

    def main(config: TrainConfig) -> dict[str, Any]:
        from qsft_robot.training.experiment import train  # heavy imports wait for a right configuration
        return train(config)

    if __name__ == "__main__":
        raise SystemExit(run(TrainConfig, main))

Standard output holds one line, the result as JSON: while the command works, whatever is printed there (native
libraries print too) goes to standard error, where the logs are. Exit codes: 0 done, 1 a defect of the program
(with its traceback), 2 a mistake or a state of things that the message explains, 130 Ctrl-C, 143 SIGTERM.
"""

from __future__ import annotations

import contextlib
import ctypes
import dataclasses
import errno
import json
import logging
import math
import os
import signal
import sys
import threading
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO, TypeVar

from qsft_robot.config.compose import load
from qsft_robot.config.help import help_text
from qsft_robot.config.resolved import to_yaml
from qsft_robot.errors import ConfigurationError, QsftRobotError

T = TypeVar("T")

logger = logging.getLogger("qsft_robot")

SPIN_COUNT = 10_000
"""How often a thread of PyTorch's OpenMP looks for work before it sleeps; its own default is thirty times as many.
Threads that look for long slow down the others where two share a core, and stall a training where another process wants
one; sleeping at once costs as much. Measured by `benchmark suite=training` on two cores: docs/benchmark.md."""
# Read when torch is loaded, which is later than this module.
os.environ.setdefault("GOMP_SPINCOUNT", str(SPIN_COUNT))


def run(
    config_class: type[T],
    main: Callable[[T], Mapping[str, Any] | None],
    words: Sequence[str] | None = None,
    positional: Sequence[str] = (),
) -> int:
    """Run a command.

    Args:
        config_class: its configuration, a class of qsft_robot/config/commands.py.
        main: does the work; returns the result, which is printed as one line of JSON.
        words: the command line without the program's name; None takes the process's own.
        positional: keys that words without `=` stand for, in order.

    Returns:
        The exit code.
    """
    words = list(sys.argv[1:] if words is None else words)
    with _result_stream() as stream, _terminated_as_exit():
        try:
            config, text = _configure(config_class, words, positional)
        except QsftRobotError as error:
            _complain(error)
            return 2
        if text is None:
            with _logging():
                try:
                    text = to_json(dict(main(config) or {}))
                except BaseException as error:
                    return _explain(error, config)
        with contextlib.suppress(BrokenPipeError):
            print(text, file=stream, flush=True)
    return 0


def to_json(result: Mapping[str, Any]) -> str:
    """One line of strict JSON; paths become text, NumPy values numbers, NaN and infinities null."""
    return json.dumps(_plain(result), allow_nan=False, ensure_ascii=False)


def program_name() -> str:
    """How the running command was called, for usage lines."""
    main_module = sys.modules.get("__main__")
    spec = getattr(main_module, "__spec__", None)
    if spec is not None and spec.name:
        return f"python -m {spec.name.removesuffix('.__main__')}"
    return Path(sys.argv[0]).name or "python -m qsft_robot.<command>"


def _configure(config_class: type[T], words: list[str], positional: Sequence[str]) -> tuple[T, str | None]:
    """The configuration, and the text to print instead of working, if any was asked for."""
    help_wanted = any(word in ("-h", "--help", "help") for word in words)
    shown_wanted = "--print-config" in words
    words = [word for word in words if word not in ("-h", "--help", "help", "--print-config")]
    names = iter(positional)
    for index, word in enumerate(words):
        if "=" not in word and not word.startswith("-"):
            name = next(names, None)
            if name is not None:
                words[index] = f"{name}={word}"
    if help_wanted:
        try:
            config: T | None = load(config_class, words)
        except ConfigurationError:
            config = None
        return config, help_text(config_class, config, program_name())  # type: ignore[return-value]
    config = load(config_class, words)
    return config, to_yaml(config) if shown_wanted else None


def _complain(error: BaseException | str) -> None:
    print("error: " + "\n  ".join(str(error).splitlines()), file=sys.stderr, flush=True)


def _explain(error: BaseException, config: Any) -> int:
    """Print what went wrong; returns the exit code."""
    resumable = any(field.name == "resume" for field in dataclasses.fields(config))
    advice = "; what was finished is kept, resume=true goes on with it" if resumable else ""
    if isinstance(error, QsftRobotError):
        _complain(error)
        return 2
    if isinstance(error, KeyboardInterrupt):
        print(f"\ninterrupted{advice}", file=sys.stderr, flush=True)
        return 130
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        place = f" ({error.filename})" if error.filename else ""
        _complain(f"the disk is full{place}: free some space and run the command again{advice}")
        return 2
    if isinstance(error, SystemExit):
        return error.code if isinstance(error.code, int) else int(error.code is not None)
    if isinstance(error, Exception):
        traceback.print_exception(error)
        print("this is a defect of the program, not of what you asked for; please report it", file=sys.stderr)
        return 1
    raise error


@contextlib.contextmanager
def _logging() -> Iterator[None]:
    """Log to standard error; afterwards the process logs as it did before."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Formatter())
    before = logger.handlers[:], logger.level, logger.propagate
    logger.handlers[:] = [handler]
    logger.setLevel(logging.INFO)
    logger.propagate = False
    try:
        yield
    finally:
        logger.handlers[:], level, logger.propagate = before
        logger.setLevel(level)


class _Formatter(logging.Formatter):
    """`12:03:55 message`, with the level named from warnings on."""

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(message)s", "%H:%M:%S")

    def format(self, record: logging.LogRecord) -> str:
        text = super().format(record)
        if record.levelno >= logging.WARNING:
            time, _, rest = text.partition(" ")
            return f"{time} {record.levelname.lower()}: {rest}"
        return text


@contextlib.contextmanager
def _result_stream() -> Iterator[TextIO]:
    """Yield the stream for the result, and send all else that goes to standard output to standard error."""
    original = sys.stdout
    try:
        is_descriptor = original.fileno() == 1
    except (OSError, ValueError, AttributeError):
        is_descriptor = False
    if not is_descriptor:
        with contextlib.redirect_stdout(sys.stderr):
            yield original
        return
    original.flush()
    kept = os.dup(1)
    os.dup2(2, 1)
    try:
        with os.fdopen(os.dup(kept), "w", encoding="utf-8") as stream:
            yield stream
    finally:
        original.flush()
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).fflush(None)  # what native libraries hold in buffers must not follow the result
        os.dup2(kept, 1)
        os.close(kept)


@contextlib.contextmanager
def _terminated_as_exit() -> Iterator[None]:
    """Let SIGTERM unwind the stack, so that files are closed and an arm is told to hold; exit with 143."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def stop(number: int, frame: Any) -> None:
        raise SystemExit(128 + number)

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _plain(value: Any) -> Any:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return _plain(dataclasses.asdict(value))
    if isinstance(value, Mapping):
        return {str(key): _plain(each) for key, each in value.items()}
    if isinstance(value, (list, tuple, set)):
        return [_plain(each) for each in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if value is None or isinstance(value, (bool, int, str)):
        return value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    raise TypeError(f"the result holds a {type(value).__name__}, which JSON does not know")
