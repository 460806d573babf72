"""The page: well-formed, self-contained, escaped; and in a real browser, where there is one."""

from __future__ import annotations

import json
import re
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import pytest

from qsft_robot.errors import DataError
from qsft_robot.reporting.charts import Line, legend, line_chart, short
from qsft_robot.reporting.contents import read_run
from qsft_robot.reporting.page import render
from tests.reporting.browser import Page, find_browser
from tests.reporting.conftest import STEPS, write_frames

MakeRun = Callable[..., Path]
HOSTILE = '<img src=x onerror="window.hacked=1">&\'"><svg onload=window.hacked=1>'
VOID = {"meta", "br", "img", "link", "input", "hr"}


class Checker(HTMLParser):
    """Sees to it that every tag is closed by its own, and collects attributes and text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str]] = []
        self.text = ""
        self.feed(page)
        self.close()
        assert not self.open, self.open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open and self.open.pop() == tag, (tag, self.getpos())

    def handle_data(self, data: str) -> None:
        if self.open[-1:] not in (["style"], ["script"]):
            self.text += data


def check(page: str) -> Checker:
    """Check that the page is well-formed and refers to nothing outside itself."""
    found = Checker(page)
    for tag, name, value in found.attributes:
        if name in ("src", "href", "data", "srcset", "action", "poster"):
            assert value.startswith("data:"), (tag, name, value[:80])
        assert not name.startswith("on"), (tag, name)
    assert not {"link", "iframe", "object", "embed", "base", "img"} & set(found.tags)
    assert not re.search(r"https?://|@import|url\(", page)
    assert found.tags.count("script") == 1
    return found


def test_page_of_one_run(make_run: MakeRun, tmp_path: Path) -> None:
    page = render([read_run(make_run(tmp_path / "mine", action_names=["reach", "turn", "grip"]))])
    found = check(page)
    assert found.tags.count("video") == 2 and "data:video/mp4;base64," in page
    for text in (
        "qsft on pick_place", "mine", "90.0%", "69.9% to 97.2%", "+0.400", "3,000 episodes", "success", "failure",
        "saturation: so many Q are at the top", "Calibration error", "reach", "grip", "held-out episodes",
        "algorithm.support_threshold", "made in 1 min 40 s",
    ):  # fmt: skip
        assert text in found.text, text
    assert "NaN" not in page and "nan" not in re.sub(r"base64,[^\"]*", "", page)
    charts = re.findall(r'<svg class="chart"', page)
    assert len(charts) == 2 * 2 + 2 + 1  # loss and q of each stage, one for each episode, calibration


def test_hostile_text_stays_text(make_run: MakeRun, tmp_path: Path) -> None:
    name = HOSTILE.replace("/", "")
    run = make_run(tmp_path / name, f"dataset={HOSTILE}</script></style>.zarr", action_names=[HOSTILE] * 3)
    (run / "evaluation" / "scripted.json").rename(run / "evaluation" / f"{name}_greedy.json")
    with (run / "metrics.jsonl").open("a") as file:
        file.write("\n" + json.dumps({"stage": HOSTILE, "step": 1, HOSTILE: 1.0}) + "\n")
    found = check(render([read_run(run)]))
    assert found.text.count(HOSTILE) >= 8
    check(render([read_run(run), read_run(run)]))


def test_page_of_several_runs(make_run: MakeRun, tmp_path: Path) -> None:
    first = read_run(make_run(tmp_path / "first"))
    second = read_run(make_run(tmp_path / "second", "algorithm=cql", "training.steps=77"))
    found = check(render([first, second]))
    assert "2 runs on pick_place" in found.text and "difference to A qsft greedy" in found.text
    assert found.tags.count("video") == 4
    differing = re.findall(r'<tr class="differs"><th><code>([^<]*)', render([first, second]))
    assert {"algorithm.name", "training.steps"} <= set(differing) and "run" not in differing


def test_what_a_run_lacks_is_left_out(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / "whole")
    bare = tmp_path / "bare"
    bare.mkdir()
    (bare / "config.yaml").write_bytes((run / "config.yaml").read_bytes())
    found = check(render([read_run(bare)]))
    assert "not finished" in found.text and "Nothing was played" in found.text and "Nothing was logged" in found.text
    check(render([read_run(run), read_run(bare)]))
    (run / "result.json").write_text("{}")
    for path in (run / "videos").glob("*.json"):
        path.unlink()
    assert "No Q-values" in check(render([read_run(run)])).text


def test_a_codec_that_browsers_lack_is_replaced(tmp_path: Path, make_run: MakeRun) -> None:
    run = make_run(tmp_path / "old")
    path = next((run / "videos").glob("*_success_*.mp4"))
    write_frames(path, codec="mp4v")
    assert b"vp09" not in path.read_bytes()
    assert all(b"vp09" in video.mp4 for video in read_run(run).videos)
    path.write_bytes(b"no video")
    with pytest.raises(DataError, match=r"_success_100.mp4 is damaged"):
        read_run(run)


@pytest.mark.parametrize("name", ["result.json", "config.yaml", "evaluation/scripted.json"])
def test_damage_is_named(name: str, make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    (run / name).write_text('{"a": [')
    with pytest.raises(DataError, match=f"{name} is damaged"):
        read_run(run)
    (run / name).write_text('["a"]')
    with pytest.raises(DataError, match=f"{name} is damaged"):
        read_run(run)


def test_command(command: Callable[..., subprocess.CompletedProcess[str]], make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    done = command("report", str(run))
    assert done.returncode == 0, done.stderr
    assert f"open {run / 'report.html'} in a browser" in done.stderr
    result = json.loads(done.stdout)
    assert Path(result["report"]) == run / "report.html" and result["bytes"] == (run / "report.html").stat().st_size
    assert command("report", f"runs=[{run},{run}]", "output=both.html").returncode == 0
    check((tmp_path / "both.html").read_text())
    mistakes = {"": "say which run", str(tmp_path): "no run folder", "run=a runs=[b]": "not both"}
    for words, message in mistakes.items():
        done = command("report", *words.split())
        assert done.returncode == 2 and message in done.stderr and not done.stdout


def test_numbers_are_short() -> None:
    values = (0.0, 1.0, 0.12345, 12345.0, 150000.0, 2e6, 0.0005, 0.000021, -0.5)
    assert [short(value) for value in values] == [
        "0", "1", "0.123", "12.35k", "150k", "2e6", "0.0005", "2.1e-5", "-0.5"
    ]  # fmt: skip


def test_charts_take_whatever_numbers_come() -> None:
    nan, inf = float("nan"), float("inf")
    assert line_chart([Line("a", [0, 1], [nan, inf])], "step", "nothing") == ""
    assert legend([Line("a", [], [])]) == ""
    for values in ([5.0], [3.0, 3.0], [0.0, 0.0], [nan, 1.0], [-1e9, 1e-9], list(range(5000))):
        chart = line_chart([Line("a", list(range(len(values))), values)], "step", "some")
        coordinates = [float(each) for each in re.findall(r"[\d.]+(?=[ ,\"])", re.findall(r'points="[^"]*"', chart)[0])]
        assert chart.count(",") <= 402 and all(0 <= each <= 420 for each in coordinates)


@pytest.mark.skipif(find_browser() is None, reason="no browser: install chromium, or name one in BROWSER_FOR_TESTS")
def test_in_a_browser(make_run: MakeRun, tmp_path: Path) -> None:
    run = make_run(tmp_path / HOSTILE.replace("/", ""), action_names=[HOSTILE] * 3)
    path = tmp_path / "page.html"
    path.write_text(render([read_run(run)]), encoding="utf-8")
    with Page(find_browser() or "", tmp_path / "profile") as page:
        page.open(path)
        assert page.evaluate("document.querySelectorAll('h2').length") == 5
        sizes = page.evaluate(
            "Promise.all([...document.querySelectorAll('video')].map(video => new Promise(done => {"
            "  const look = () => done([video.videoWidth, video.error && video.error.message]);"
            "  if (video.readyState >= 2 || video.error) look();"
            "  video.addEventListener('loadeddata', look); video.addEventListener('error', look); })))"
        )
        assert sizes == [[64, None], [64, None]]
        positions = page.evaluate(
            "new Promise(done => { const video = document.querySelector('video'); video.pause();"
            "  const cursor = document.querySelector('.cursor'), seen = [];"
            "  const times = [0, 0.95, 2.5];"
            "  video.addEventListener('seeked', () => {"
            "    seen.push(Number(cursor.getAttribute('x1')));"
            "    if (times.length) video.currentTime = times.shift(); else done(seen); });"
            "  video.currentTime = times.shift() + 0.01; })"
        )
        left, right = page.evaluate("(({left, right}) => [+left, +right])(document.querySelector('svg.chart').dataset)")
        assert positions[0] < positions[1] < positions[2] == right
        assert positions[1] == pytest.approx(left + (right - left) * 9.5 / (STEPS - 1), abs=1.0)
        for width in (1280, 400):
            page.resize(width, 900)
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), width
        assert page.evaluate("window.hacked") is None
        assert page.requests == [path.as_uri()] and not page.errors
