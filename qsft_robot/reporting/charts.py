"""Small line charts as inline SVG: no script, colours from the page's style sheet, every text escaped."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from markupsafe import Markup, escape

COLOURS = 8
"""Classes c0 to c7 of the style sheet."""
MOST_POINTS = 400
"""Points drawn of one line: more than there are pixels show nothing more."""
WIDTH, HEIGHT = 420, 230
LEFT, RIGHT, TOP, BOTTOM = 46, 18, 10, 36
"""Margins for the labels, in the units of the drawing."""


@dataclass(frozen=True)
class Line:
    """One line of a chart: its points, with colour and style."""

    name: str
    x: Sequence[float]
    y: Sequence[float]
    colour: int = 0
    dashed: bool = False
    markers: bool = False

    def points(self) -> list[tuple[float, float]]:
        """The finite points, thinned out to MOST_POINTS."""
        finite = [(a, b) for a, b in zip(self.x, self.y, strict=True) if math.isfinite(a) and math.isfinite(b)]
        stride = max(1, math.ceil(len(finite) / MOST_POINTS))
        return finite[::stride] + (finite[-1:] if (len(finite) - 1) % stride else [])


def line_chart(
    lines: Sequence[Line],
    x_label: str,
    description: str,
    y_range: tuple[float, float] | None = None,
    x_range: tuple[float, float] | None = None,
    diagonal: bool = False,
    cursor: bool = False,
) -> Markup:
    """Draw `lines` over common axes, or nothing where they hold no finite point.

    Args:
        lines: what to draw.
        x_label: text under the horizontal axis.
        description: what the chart shows, for those who do not see it.
        y_range: of the vertical axis; None fits it to the points.
        x_range: of the horizontal axis; None fits it to the points.
        diagonal: draw y = x.
        cursor: add a vertical line that the page's script moves along a video.
    """
    drawn = [(line, points) for line in lines if (points := line.points())]
    if not drawn:
        return Markup("")
    every = [point for _, points in drawn for point in points]
    x_axis = _Axis(x_range or _spread([x for x, _ in every]), LEFT, WIDTH - RIGHT)
    y_axis = _Axis(y_range or _spread([y for _, y in every], margin=0.04), HEIGHT - BOTTOM, TOP)
    parts = [
        Markup('<svg class="chart" viewBox="0 0 {} {}" role="img" aria-label="{}" data-left="{}" data-right="{}">')
        .format(WIDTH, HEIGHT, description, x_axis(x_axis.low), x_axis(x_axis.high))
    ]  # fmt: skip
    for value in y_axis.ticks():
        y = y_axis(value)
        parts.append(Markup('<line class="grid" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(LEFT, WIDTH - RIGHT, y, y))
        parts.append(Markup('<text class="y" x="{}" y="{}">{}</text>').format(LEFT - 5, y + 3.5, short(value)))
    for value in x_axis.ticks():
        parts.append(
            Markup('<text class="x" x="{}" y="{}">{}</text>').format(x_axis(value), HEIGHT - BOTTOM + 14, short(value))
        )
    parts.append(Markup('<text class="x" x="{}" y="{}">{}</text>').format((LEFT + WIDTH) / 2, HEIGHT - 6, x_label))
    if diagonal:
        low, high = max(x_axis.low, y_axis.low), min(x_axis.high, y_axis.high)
        parts.append(_path([(low, low), (high, high)], x_axis, y_axis, "diagonal"))
    for line, points in drawn:
        style = f"line c{line.colour % COLOURS}" + (" dashed" if line.dashed else "")
        parts.append(_path(points, x_axis, y_axis, style))
        if line.markers or len(points) == 1:
            parts += [
                Markup('<circle class="marker c{}" cx="{}" cy="{}" r="3"><title>{}: {}, {}</title></circle>').format(
                    line.colour % COLOURS, x_axis(x), y_axis(y), line.name, short(x), short(y)
                )
                for x, y in points
            ]
    if cursor:
        x = x_axis(x_axis.low)
        parts.append(
            Markup('<line class="cursor" x1="{}" x2="{}" y1="{}" y2="{}"/>').format(x, x, TOP, HEIGHT - BOTTOM)
        )
    return Markup("").join([*parts, Markup("</svg>")])


def legend(lines: Sequence[Line], last: bool = True) -> Markup:
    """The lines' colours and names, with the last value of each unless `last` is False."""
    items = []
    for line in lines:
        points = line.points()
        if points:
            value = Markup(" <b>{}</b>").format(short(points[-1][1])) if last else ""
            style = f"key c{line.colour % COLOURS}" + (" dashed" if line.dashed else "")
            items.append(
                Markup('<span class="item"><span class="{}"></span>{}{}</span>').format(style, line.name, value)
            )
    return Markup('<div class="legend">{}</div>').format(Markup("").join(items)) if items else Markup("")


def interval_bar(rate: float, low: float, high: float, colour: int = 0) -> Markup:
    """A rate with its interval on a scale from 0 to 1."""
    return Markup(
        '<svg class="interval" viewBox="0 0 200 18" role="img" aria-label="{}"><line class="grid" x1="0" x2="200" '
        'y1="9" y2="9"/><line class="span c{}" x1="{}" x2="{}" y1="9" y2="9"/><circle class="marker c{}" cx="{}" '
        'cy="9" r="4.5"/></svg>'
    ).format(
        f"{rate:.0%}, interval {low:.0%} to {high:.0%}",
        colour % COLOURS, _round(200 * low), _round(200 * high), colour % COLOURS, _round(200 * rate),
    )  # fmt: skip


def short(value: float) -> str:
    """A number in few characters: 12000 -> "12k", 0.000021 -> "2.1e-5"."""
    size = abs(value)
    if size >= 1e6 or 0 < size < 1e-4:
        mantissa, _, exponent = f"{value:.1e}".partition("e")
        return f"{mantissa.removesuffix('.0')}e{int(exponent)}"
    if size >= 1e4:
        return f"{value / 1e3:.4g}k"
    return f"{value:.3g}" if size < 1e3 else f"{value:.0f}"


class _Axis:
    """Maps [low, high] onto [start, end] of the drawing."""

    def __init__(self, bounds: tuple[float, float], start: float, end: float) -> None:
        self.low, self.high = bounds
        self.start, self.end = start, end

    def __call__(self, value: float) -> float:
        inside = min(max(value, self.low), self.high)
        return _round(self.start + (inside - self.low) / (self.high - self.low) * (self.end - self.start))

    def ticks(self, most: int = 6) -> list[float]:
        """Round numbers inside the axis."""
        rough = (self.high - self.low) / most
        power = 10.0 ** math.floor(math.log10(rough))
        step = next(power * factor for factor in (1, 2, 5, 10) if power * factor >= rough * (1 - 1e-9))
        first = math.ceil(self.low / step - 1e-9)
        return [round(index * step, 12) for index in range(first, math.floor(self.high / step + 1e-9) + 1)]


def _spread(values: Sequence[float], margin: float = 0.0) -> tuple[float, float]:
    low, high = min(values), max(values)
    if high - low < 1e-12 * max(1.0, abs(high)):
        half = max(0.5 * abs(high), 0.5)
        return low - half, high + half
    extra = margin * (high - low)
    # A quantity that is never negative gets no negative part of the axis.
    return (max(low - extra, 0.0) if low >= 0 else low - extra), high + extra


def _path(points: Sequence[tuple[float, float]], x_axis: _Axis, y_axis: _Axis, style: str) -> Markup:
    steps = " ".join(f"{x_axis(x)},{y_axis(y)}" for x, y in points)
    return Markup('<polyline class="{}" points="{}"/>').format(style, escape(steps))


def _round(value: float) -> float:
    return round(value, 1)
