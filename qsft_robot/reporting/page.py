"""Puts the contents of runs into one HTML page that needs nothing but itself.

The page's own policy (`Content-Security-Policy`) forbids every request and every script but the one it holds, so that
it is safe to open whatever a run's name or configuration contains; all text is escaped besides.
"""

from __future__ import annotations

import base64
import hashlib
import itertools
import string
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from qsft_robot import __version__
from qsft_robot.evaluation.statistics import paired_difference
from qsft_robot.reporting.charts import COLOURS, Line, interval_bar, legend, line_chart, short
from qsft_robot.reporting.contents import Played, RunContents, Video
from qsft_robot.reporting.figures import FIGURES
from qsft_robot.training.metrics import duration

HERE = Path(__file__).parent
TOGETHER = {
    "loss": ("Loss", ("loss", "held_out_loss")),
    "q": ("Values of logged tokens", ("q", "weight", "monte_carlo_return", "saturated")),
}
"""Metrics of one run that are drawn in one chart, by the first of them; every other gets a chart of its own."""
FILES = {"behaviour_clone": "bc"}
"""Policies whose outcomes lie in files of another name than the result gives them."""
SHOWN_KEYS = (
    "sim.name", "sim.options.observation", "algorithm.name", "algorithm.discount", "algorithm.beta", "model.name",
    "dataset", "episodes", "seed", "tokenization.bins", "training.behaviour_steps", "training.steps",
    "training.batch_size", "training.learning_rate", "evaluation.episodes",
)  # fmt: skip
"""Keys of the configuration that are shown at once; all others unfold."""


def render(runs: Sequence[RunContents]) -> str:
    """The page about one run, or about several side by side."""
    environment = Environment(
        loader=FileSystemLoader(HERE), autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters |= {"short": short, "percent": lambda value: f"{value:.1%}", "duration": duration}
    script = (HERE / "page.js").read_text(encoding="utf-8")
    # The browser hashes what stands between the tags.
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    labels = [""] if len(runs) == 1 else list(itertools.islice(_letters(), len(runs)))
    return environment.get_template("page.html").render(
        version=__version__,
        script=Markup(script),
        script_hash=digest,
        style=Markup((HERE / "page.css").read_text(encoding="utf-8")),
        title=_title(runs),
        runs=[_overview(run, label, index) for index, (run, label) in enumerate(zip(runs, labels, strict=True))],
        success=_success(runs, labels),
        diagnostics=_diagnostics(runs),
        advice=[list((run.diagnostics.get("advice") or {}).items()) for run in runs],
        calibration=_calibration(runs, labels),
        videos=[[_episode(video) for video in run.videos] for run in runs],
        stages=list(_curves(runs, labels)),
        configuration=_configuration(runs),
    )


def _letters() -> Iterator[str]:
    for size in itertools.count(1):
        yield from ("".join(letters) for letters in itertools.product(string.ascii_uppercase, repeat=size))


def _title(runs: Sequence[RunContents]) -> str:
    if len(runs) == 1:
        return f"{runs[0].algorithm} on {runs[0].sim}"
    sims = sorted({run.sim for run in runs})
    return f"{len(runs)} runs on {', '.join(sims)}"


def _overview(run: RunContents, label: str, index: int) -> dict[str, Any]:
    dataset = run.result.get("dataset") or {}
    colours = _policy_colours(run)
    headlines = [
        {"name": name.replace("_", " "), "colour": colours.get(FILES.get(name, name), 0), "decoding": "", **summary}
        for name, summary in (run.result.get("evaluation") or {}).items()
    ]
    facts = []
    if dataset:
        rate = dataset.get("success_rate")
        share = f", {rate:.1%} of them successful" if rate is not None else ""
        facts.append(f"{dataset.get('episodes', 0):,} episodes{share}")
    if "total" in (run.result.get("seconds") or {}):
        facts.append(f"made in {duration(run.result['seconds']['total'])}")
    return {
        "label": label,
        "colour": index % COLOURS,
        "name": run.folder.resolve().name,
        "folder": str(run.folder),
        "kind": f"{run.algorithm} on {run.sim}",
        "finished": bool(run.result),
        "facts": facts,
        "headlines": headlines,
    }


def _policy_colours(run: RunContents) -> dict[str, int]:
    """A colour for each policy that was played, the same wherever it appears."""
    return {policy: index % COLOURS for index, policy in enumerate(dict.fromkeys(each.policy for each in run.played))}


def _success(runs: Sequence[RunContents], labels: Sequence[str]) -> dict[str, Any]:
    """Rows of the success table. Each is compared with one of them on the seeds that both were played on.

    That is the first of a single run, which is the scripted agent; of several runs it is what the first one learnt.
    """
    rows: list[dict[str, Any]] = []
    candidates = sorted(runs[0].played, key=lambda each: len(runs) > 1 and each.policy != runs[0].algorithm)
    reference = candidates[0] if candidates else None
    for index, (run, label) in enumerate(zip(runs, labels, strict=True)):
        colours = _policy_colours(run)
        for played in run.played:
            low, high = played.summary["success_interval"]
            colour = index if len(runs) > 1 else colours[played.policy]
            rows.append(
                {
                    "label": label,
                    "policy": played.policy,
                    "decoding": played.decoding,
                    "bar": interval_bar(played.summary["success_rate"], low, high, colour),
                    "difference": _difference(played, reference),
                    **played.summary,
                }
            )
    name = "" if reference is None else " ".join(filter(None, [labels[0], reference.policy, reference.decoding]))
    return {"rows": rows, "reference": name}


def _difference(played: Played, reference: Played | None) -> list[float] | None:
    """Difference of success rates with its interval; None to itself and where fewer than two seeds are common."""
    if reference is None or played is reference:
        return None
    common = [seed for seed in played.success if seed in reference.success]
    if len(common) < 2:
        return None
    first = np.array([played.success[seed] for seed in common], dtype=np.float64)
    second = np.array([reference.success[seed] for seed in common], dtype=np.float64)
    # With few episodes the normal approximation leaves what a difference of rates can be.
    return np.clip(paired_difference(first, second), -1.0, 1.0).tolist()


def _diagnostics(runs: Sequence[RunContents]) -> list[dict[str, Any]]:
    rows = []
    for figure in FIGURES:
        cells = []
        for run in runs:
            value = run.diagnostics.get(figure.key)
            text = "" if value is None else f"{value:.1%}" if figure.share else f"{value:.3f}"
            cells.append({"text": text, "advised": figure.key in (run.diagnostics.get("advice") or {})})
        if any(cell["text"] for cell in cells):
            rows.append({"figure": figure, "cells": cells})
    return rows


def _calibration(runs: Sequence[RunContents], labels: Sequence[str]) -> dict[str, Markup] | None:
    lines = []
    for index, (run, label) in enumerate(zip(runs, labels, strict=True)):
        curve = run.diagnostics.get("calibration_curve")
        if curve:
            lines.append(Line(label or run.algorithm, curve["q"], curve["return"], index, markers=True))
    if not lines:
        return None
    high = max(1.0, *(value for line in lines for value in (*line.x, *line.y)))
    low = min(0.0, *(value for line in lines for value in (*line.x, *line.y)))
    bounds = (low, high)
    chart = line_chart(lines, "Q of logged tokens", "Return against Q", bounds, bounds, diagonal=True)
    return {"chart": chart, "legend": legend(lines, last=False) if len(lines) > 1 else Markup("")}


def _episode(video: Video) -> dict[str, Any]:
    q = video.trace.get("q_values") or []
    lines: list[Line] = []
    # Texts have as many tokens as they are long; only actions of one length make lines.
    if len({len(row) for row in q}) == 1:
        columns = list(zip(*q, strict=True))
        names = video.trace.get("action_names") or []
        if len(names) != len(columns):
            names = [f"action {index}" for index in range(len(columns))]
        steps = range(len(q))
        lines = [
            Line(str(name), steps, column, index)
            for index, (name, column) in enumerate(zip(names, columns, strict=True))
        ]
    every = [value for line in lines for _, value in line.points()]
    bounds = (min(0.0, *every), max(1.0, *every)) if every else None
    return {
        "policy": video.policy.replace("_", " "),
        "success": video.success,
        "seed": video.seed,
        "source": Markup("data:video/mp4;base64,{}").format(base64.b64encode(video.mp4).decode()),
        "steps": len(video.trace.get("rewards") or ()),
        "rate": video.trace.get("frames_per_second", 10),
        "chart": line_chart(lines, "step", "Q of the chosen token of each action dimension", bounds, cursor=True),
        "legend": legend(lines, last=False),
    }


def _curves(runs: Sequence[RunContents], labels: Sequence[str]) -> Iterator[dict[str, Any]]:
    """For each stage its charts: one line for each metric, or for each metric and run."""
    stages = list(dict.fromkeys(str(record["stage"]) for run in runs for record in run.metrics))
    for stage in stages:
        records = [[record for record in run.metrics if record["stage"] == stage] for run in runs]
        metrics = list(
            dict.fromkeys(key for each in records for record in each for key in record if key not in ("stage", "step"))
        )
        charts = []
        while metrics:
            title, members = TOGETHER.get(metrics[0], (metrics[0].replace("_", " ").capitalize(), (metrics[0],)))
            if len(runs) > 1 and members[0] != "loss":  # colours tell runs apart, and little is left for metrics
                title, members = members[0].replace("_", " ").capitalize(), members[:1]
            members = tuple(name for name in members if name in metrics)
            metrics = [name for name in metrics if name not in members]
            lines = []
            for index, (label, each) in enumerate(zip(labels, records, strict=True)):
                for place, name in enumerate(members):
                    points = [(record["step"], record[name]) for record in each if _is_number(record.get(name))]
                    lines.append(
                        Line(
                            " ".join(filter(None, [label, name.replace("_", " ")])),
                            [x for x, _ in points],
                            [y for _, y in points],
                            colour=index if len(runs) > 1 else place,
                            dashed=len(runs) > 1 and place > 0,
                        )
                    )
            chart = line_chart(lines, "step", f"{title} of stage {stage}")
            if chart:
                charts.append({"title": title, "chart": chart, "legend": legend(lines)})
        yield {"name": stage, "charts": charts}


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _configuration(runs: Sequence[RunContents]) -> dict[str, list[dict[str, Any]]]:
    """Rows of the configuration: `shown` at once (what matters most, and what differs), and all the `others`."""
    flat = [dict(_flatten(run.config)) for run in runs]
    keys = list(dict.fromkeys(key for each in flat for key in each))
    parts: dict[str, list[dict[str, Any]]] = {"shown": [], "others": []}
    for key in keys:
        cells = [each.get(key, "") for each in flat]
        differs = len(set(cells)) > 1 and key != "run"
        row = {"key": key, "cells": cells, "differs": differs}
        parts["shown" if differs or key in SHOWN_KEYS else "others"].append(row)
    return parts


def _flatten(config: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, str]]:
    for key, value in config.items():
        if isinstance(value, Mapping) and value:
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield f"{prefix}{key}", {"None": "null", "True": "true", "False": "false", "{}": "", "": ""}.get(text, text)
