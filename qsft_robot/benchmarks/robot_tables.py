"""The robot benchmark's cells as rows with intervals, as a Markdown table and as a picture."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from qsft_robot.evaluation.statistics import by_task_type, mean_interval, paired_difference, wilson_interval

BAR_HEIGHT = 0.4
"""Inches of the picture for a bar: two lines of a label."""
LABEL_WIDTH = 45
"""Characters of a label's line."""


def tabulate(cells: Sequence[Mapping[str, Any]], reference: str) -> list[dict[str, Any]]:
    """One row per method and dataset size, over its training seeds.

    Success: the interval is Wilson's over all episodes of all training seeds. Return: the mean over them with its 95%
    interval. `difference` is the return of the reference method less this one's: each evaluation episode gives one
    pair, of the means over the training seeds, and the 95% interval is that of the mean of the pairs; None where
    the two were not played on the same episodes.
    """
    groups: dict[tuple[str, Any], list[Mapping[str, Any]]] = {}
    for cell in cells:
        groups.setdefault((cell["method"], cell["size"]), []).append(cell)
    rows = []
    for (method, size), members in groups.items():
        successes = np.array([member["successes"] for member in members], dtype=np.float64)
        mean, low, high = mean_interval(np.array([member["returns"] for member in members]).ravel())
        rows.append(
            {
                "method": method,
                "size": size,
                "training_seeds": [member["training_seed"] for member in members],
                "episodes": int(successes.size),
                "success_rate": float(successes.mean()),
                "success_interval": wilson_interval(int(successes.sum()), int(successes.size)),
                "return": mean,
                "return_interval": (low, high),
                "by_task_type": by_task_type(
                    pair for member in members for pair in zip(member["task_types"], member["successes"], strict=True)
                ),
                "by_training_seed": successes.mean(axis=1).tolist(),
                "decodings": [member["decoding"] for member in members],
                "success_by_decoding": {
                    way: float(np.mean([member["by_decoding"][way] for member in members]))
                    for way in members[0]["by_decoding"]
                },
                "difference": _difference(groups.get((reference, size)), members),
                "minutes": float(np.mean([member["seconds"]["total"] for member in members])) / 60.0,
            }
        )
    return rows


def _difference(
    reference: Sequence[Mapping[str, Any]] | None, members: Sequence[Mapping[str, Any]]
) -> tuple[float, float, float] | None:
    if reference is None or reference[0]["evaluation_seeds"] != members[0]["evaluation_seeds"]:
        return None
    if reference[0]["method"] == members[0]["method"]:
        return None
    first = np.mean([cell["returns"] for cell in reference], axis=0)
    second = np.mean([cell["returns"] for cell in members], axis=0)
    return paired_difference(first, second)


def table(title: str, rows: Sequence[Mapping[str, Any]], data: Mapping[str, Any]) -> str:
    """The rows as Markdown."""
    low, high = data["success_interval"]
    lines = [
        f"# {title}",
        "",
        "| method | collected episodes | training seeds | success | 95% interval | return | 95% interval "
        "| reference's return less this | decoding |",
        "|---|---|---|---|---|---|---|---|---|",
        f"| the data | | | {data['success_rate']:.3f} | {low:.3f} to {high:.3f} | {data['return']:.3f} | | | |",
    ]
    for row in rows:
        low, high = row["success_interval"]
        difference = row["difference"]
        gap = "" if difference is None else f"{difference[0]:+.3f} ({difference[1]:+.3f} to {difference[2]:+.3f})"
        size = "" if row["size"] is None else str(row["size"])
        decodings = ", ".join(sorted({str(each) for each in row["decodings"]}))
        lines.append(
            f"| {row['method']} | {size} | {len(row['training_seeds'])} | {row['success_rate']:.3f} "
            f"| {low:.3f} to {high:.3f} | {row['return']:.3f} "
            f"| {row['return_interval'][0]:.3f} to {row['return_interval'][1]:.3f} | {gap} | {decodings} |"
        )
    ways = list(dict.fromkeys(way for row in rows for way in row["success_by_decoding"]))
    lines += ["", f"| success, decoded by | {' | '.join(ways)} |", f"|---|{'---|' * len(ways)}"]
    for row in rows:
        rates = row["success_by_decoding"]
        name = row["method"] if row["size"] is None else f"{row['method']}, {row['size']} episodes"
        lines.append(f"| {name} | {' | '.join(f'{rates[way]:.3f}' if way in rates else '' for way in ways)} |")
    kinds = sorted({kind for row in rows for kind in row["by_task_type"]})
    if len(kinds) > 1:
        lines += ["", f"| method | {' | '.join(kinds)} |", f"|---|{'---|' * len(kinds)}"]
        lines += [
            f"| {row['method']} | {' | '.join(_cell(row['by_task_type'].get(kind)) for kind in kinds)} |"
            for row in rows
        ]
    return "\n".join(lines) + "\n"


def _cell(rate: Mapping[str, Any] | None) -> str:
    if rate is None:
        return ""
    low, high = rate["success_interval"]
    return f"{rate['success_rate']:.2f} ({low:.2f} to {high:.2f})"


def draw(rows: Sequence[Mapping[str, Any]], data: Mapping[str, Any], path: Path) -> None:
    """Success with intervals: bars of the methods, or curves over the dataset's size where there are several."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    sizes = sorted({row["size"] for row in rows if row["size"] is not None})
    height = 4.0 if len(sizes) > 1 else max(4.0, BAR_HEIGHT * len(rows))
    figure, axes = pyplot.subplots(figsize=(7.0, height), layout="constrained")
    if len(sizes) > 1:
        for method in dict.fromkeys(row["method"] for row in rows):
            mine = sorted((row for row in rows if row["method"] == method), key=lambda row: row["size"])
            rates = [row["success_rate"] for row in mine]
            axes.errorbar([row["size"] for row in mine], rates, yerr=_errors(mine), marker="o", capsize=3, label=method)
        axes.set_xscale("log")
        axes.set_xticks(sizes, [str(size) for size in sizes])
        axes.minorticks_off()
        axes.set_xlabel("collected episodes")
        axes.legend()
    else:
        ordered = sorted(rows, key=lambda row: row["success_rate"])
        names = [textwrap.fill(row["method"], LABEL_WIDTH, break_on_hyphens=False) for row in ordered]
        axes.barh(names, [row["success_rate"] for row in ordered], xerr=_errors(ordered), capsize=3, color="#4878a8")
    data_rate = data["success_rate"]
    line = axes.axhline if len(sizes) > 1 else axes.axvline
    line(data_rate, linestyle="--", color="grey")
    (axes.set_ylim if len(sizes) > 1 else axes.set_xlim)(0.0, 1.0)
    (axes.set_ylabel if len(sizes) > 1 else axes.set_xlabel)("success (dashed: the data)")
    figure.savefig(path, dpi=150)
    pyplot.close(figure)


def _errors(rows: Sequence[Mapping[str, Any]]) -> np.ndarray:
    rates = np.array([row["success_rate"] for row in rows])
    intervals = np.array([row["success_interval"] for row in rows])
    return np.stack([rates - intervals[:, 0], intervals[:, 1] - rates]).clip(0.0)
