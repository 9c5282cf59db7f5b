"""The page of `mckpt report --html`, in a real browser."""

from __future__ import annotations

import dataclasses
import itertools
import re
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest

from model_checkpoint.analytics.report.html import render_html
from model_checkpoint.monitoring.stages import STAGES
from model_checkpoint.monitoring.timing import OperationTiming
from tests.harness import sample_page
from tests.harness.browser import NoBrowserError, browser

WIDE, PHONE = (1280, 900), (390, 844)


@dataclass
class Opened:
    """A page that is open, and what it has done."""

    page: Any
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def draw_all(self):
        self.page.evaluate("drawAll()")

    def count(self, selector):
        return self.page.locator(selector).count()


@pytest.fixture(scope="module")
def chromium():
    try:
        with browser() as started:
            yield started
    except NoBrowserError as missing:
        pytest.skip(str(missing))


@pytest.fixture
def visit(chromium, tmp_path):
    """Open a page; afterwards it must have loaded nothing but itself, and have complained of nothing."""

    @contextmanager
    def opened(made, *, size=WIDE, scheme="light"):
        file = tmp_path / "report.html"
        file.write_text(render_html(made), encoding="utf-8")
        context = chromium.new_context(viewport=dict(zip(("width", "height"), size, strict=True)), color_scheme=scheme)
        try:
            one = Opened(context.new_page())
            one.page.on("request", lambda request: one.requests.append(request.url))
            one.page.on("console", lambda message: one.complaints.append(message.text))
            one.page.on("pageerror", lambda error: one.complaints.append(str(error)))
            one.page.goto(file.as_uri())
            one.draw_all()
            yield one
            assert one.requests == [file.as_uri()]
            assert one.complaints == []
        finally:
            context.close()

    return opened


def test_every_chart_table_and_symbol_is_there(visit):
    """Curves with their gaps, checkpoints by what becomes of them, tables, bars, the front and the runs."""
    with visit(sample_page.usual_page()) as opened:
        assert opened.count("figure.curve svg.chart") == 3
        loss = opened.page.locator("figure.curve", has_text="loss").first
        paths = [path.get_attribute("d") for path in loss.locator("path.line").all()]
        assert sorted(len(re.findall("M", path)) for path in paths) == [1, 2]  # one has a gap
        for kind in ("best", "pinned", "kept", "going"):
            assert loss.locator(f".symbol.{kind}").count() == 1
        assert opened.count("#experiments tbody tr") == 4  # two experiments, two groups
        assert opened.count("#checkpoints tbody tr") == 3
        assert opened.count("#trade-offs .symbol") == 4
        assert opened.count("#timing .operation") == 3
        assert opened.count("#lineage path.branch") == 1
        assert "100,000 points" in opened.page.locator("figure.curve", has_text="long").inner_text()


def test_names_are_text_whatever_they_contain(visit):
    """Nothing of a hostile name runs, is markup, or hides or turns the text around it."""
    with visit(sample_page.hostile_page()) as opened:
        opened.page.locator("figure.curve svg.chart").first.hover()
        assert opened.page.evaluate("window.harm") is None
        assert opened.count("img") == 0
        assert opened.count("script") == 2
        text = opened.page.locator("body").inner_text()
        assert "</script><script>window.harm=1</script>" in text
        assert "\\u202egnp." in text
        assert not re.search("[\u202a-\u202e\u2066-\u2069\u2028]", opened.page.content())


def test_the_policy_would_stop_what_got_in(visit):
    """Even a script or an image that is put into the page by force neither runs nor loads."""
    with visit(sample_page.usual_page()) as opened:
        opened.page.evaluate("""() => {
            const script = document.createElement('script');
            script.textContent = 'window.harm = 1';
            document.body.append(script);
            const image = new Image();
            image.src = 'https://example.invalid/x.png';
            document.body.append(image);
        }""")
        assert opened.page.evaluate("window.harm") is None
        assert len(opened.complaints) == 2
        assert all("Content Security Policy" in complaint for complaint in opened.complaints)
        opened.complaints.clear()
        opened.requests.remove("https://example.invalid/x.png")  # announced, then blocked


def test_lines_can_be_hidden_smoothed_and_put_on_a_log_scale(visit):
    """Each control redraws the charts."""
    with visit(sample_page.usual_page()) as opened:
        loss = opened.page.locator("figure.curve", has_text="loss").first
        plain = loss.locator("path.line").first.get_attribute("d")
        opened.page.get_by_label("Log scale").check()
        opened.draw_all()
        assert loss.locator("path.line").first.get_attribute("d") != plain
        opened.page.get_by_label("Smoothing").fill("0.9")
        opened.draw_all()
        assert loss.locator("path.line.behind").count() == 2
        assert loss.locator("path.line.front").count() == 2
        opened.page.get_by_label("Checkpoints and marks").uncheck()
        opened.draw_all()
        assert loss.locator(".symbol").count() == 0
        toggle = opened.page.get_by_role("button", name="exp1")
        toggle.click()
        opened.draw_all()
        assert toggle.get_attribute("aria-pressed") == "false"
        assert loss.locator("path.line.front").count() == 1


def test_values_are_read_by_pointer_and_by_keyboard(visit):
    """Over the chart every line's value; over a checkpoint why it is kept; by arrow keys what a screen reader says."""
    with visit(sample_page.usual_page()) as opened:
        chart = opened.page.locator("figure.curve svg.chart").first
        chart.hover(position={"x": 200, "y": 30})
        readout = opened.page.locator(".readout:visible")
        assert re.match(r"step \d+\nexp0\n[\d.]+\nexp1\n[\d.]+", readout.inner_text())
        opened.page.locator("figure.curve .symbol.best").first.hover(force=True)
        assert "best, best(1)" in readout.inner_text()
        chart.focus()
        opened.page.keyboard.press("Home")
        opened.page.keyboard.press("ArrowRight")
        assert opened.page.locator("[aria-live]").inner_text() == "step 2: exp0 0.9418, exp1 1.042"
        opened.page.keyboard.press("Escape")
        assert readout.count() == 0


def test_the_metrics_of_a_trade_off_can_be_chosen(visit):
    """Another pair is another plot."""
    with visit(sample_page.hostile_page()) as opened:
        assert opened.count("#trade-offs .plot .empty") == 1
        opened.page.get_by_label("Pair").select_option("1")
        assert opened.page.locator("#trade-offs h3").inner_text() == "The front: 2 of 2 checkpoints"


@pytest.mark.parametrize("size", [WIDE, PHONE], ids=["wide", "phone"])
@pytest.mark.parametrize("name", ["usual", "many", "hostile", "empty"])
def test_the_page_is_as_wide_as_the_window(visit, name, size):
    """Wide tables scroll by themselves; the page never does sideways."""
    with visit(getattr(sample_page, f"{name}_page")(), size=size) as opened:
        assert opened.page.evaluate("document.documentElement.scrollWidth") <= size[0]


def test_a_store_without_anything_says_so(visit):
    """Every section has a sentence instead of an empty frame."""
    with visit(sample_page.empty_page()) as opened:
        assert opened.count("section") == opened.count("section .empty") == 6


def test_many_experiments_are_a_few_colours_and_grey(visit):
    """The best eight stand out; the legend folds the others, and leaves out what all names begin with."""
    with visit(sample_page.many_page()) as opened:
        assert opened.count("figure path.line") == 2 * 50
        assert opened.count("figure path.line.others") == 2 * 42
        assert opened.page.get_by_role("button").nth(7).inner_text() == "\u2026tes-with-a-long-name-07-seed1"
        assert opened.page.locator("summary").inner_text() == "and 34 more, in grey"
        opened.page.locator("figure.curve svg.chart").first.hover(position={"x": 100, "y": 20})
        assert "and 42 more" in opened.page.locator(".readout:visible").inner_text()


OUTSIDE = """() => [...document.querySelectorAll('figure.curve svg.chart')].flatMap((chart) => {
    const box = chart.getBoundingClientRect();
    return [...chart.querySelectorAll('.symbol, .rug')].map((one) => one.getBoundingClientRect())
        .filter((one) => one.right > box.right || one.left < box.left || one.top < box.top || one.bottom > box.bottom);
}).length"""


def test_checkpoints_beyond_the_curve_are_in_the_chart(visit):
    """Of steps that logged nothing, or of values that no line has: they were drawn beside the frame."""
    far = [
        sample_page.checkpoint(0, 400, metrics={"loss": 9.0}),
        sample_page.checkpoint(0, 500, metrics={"loss": -3.0}),
        sample_page.checkpoint(0, 600, metrics={}),
    ]
    with visit(sample_page.page([sample_page.experiment("exp0")], [sample_page.curve(0)], far)) as opened:
        assert opened.count("figure.curve .symbol") == 2
        assert opened.count("figure.curve .rug") == 1
        assert opened.page.evaluate(OUTSIDE) == 0
        opened.page.get_by_label("Checkpoints and marks").uncheck()
        opened.draw_all()
        assert opened.count("figure.curve .symbol, figure.curve .rug") == 0


@pytest.mark.parametrize(("points", "steps"), [(1, ["0"]), (3, ["0", "1", "2"])])
def test_steps_are_whole_on_their_axis(visit, points, steps):
    """There is no step 0.5, around a single point or between a few."""
    with visit(sample_page.page([sample_page.experiment("exp0")], [sample_page.curve(0, points=points)])) as opened:
        axis = opened.page.locator("figure.curve svg.chart .axes text[text-anchor=middle]")
        assert axis.all_text_contents() == steps


LOOKS = """() => [...document.querySelectorAll('.timing')].map((kind) => Object.fromEntries(
    [...kind.querySelectorAll('.stages li')].map((item) => [item.querySelector('.name').textContent,
        getComputedStyle(item.querySelector('.swatch')).background])))"""


def test_a_stage_looks_the_same_wherever_it_is(visit):
    """In saves and in loads; no two of them look alike, and what is in no stage is in the legend too."""
    seconds = dict.fromkeys(STAGES, 0.1)
    made = sample_page.usual_page()
    operations = [
        OperationTiming("save", "exp0", "exp0:1-1f3a9c2e", 1, sample_page.NOON, 2.0, 0.1, 1_000_000, seconds),
        OperationTiming("load", None, None, None, sample_page.NOON, 1.0, None, 1, {"read": 0.5, "memory": 0.004}),
    ]
    with visit(dataclasses.replace(made, operations=tuple(operations))) as opened:
        save, load = opened.page.evaluate(LOOKS)
        assert load.items() <= save.items()
        stages = [save[stage] for stage in STAGES]
        assert len(set(stages)) == len(STAGES)
        assert opened.page.locator(".timing .stages li", has_text="other").count() == 2
        assert opened.page.locator(".timing .stages li", has_text="memory").last.inner_text().endswith("< 1 %")
        assert opened.page.locator(".operation .label").first.inner_text() == "exp0\nstep 1"


def test_values_over_powers_of_ten_are_on_a_log_scale(visit):
    """In a trade-off: on a linear axis all but the largest lie on top of each other."""
    points = [
        sample_page.checkpoint(0, step, metrics={"loss": 1 / (step + 1), "latency_ms": 0.01 * 10**step})
        for step in range(4)
    ]
    with visit(sample_page.page([sample_page.experiment("exp0")], [sample_page.curve(0)], points)) as opened:
        text = opened.page.locator("#trade-offs svg.chart").text_content()
        assert "latency_ms, less is better (log scale)" in text
        assert "loss, less is better" in text
        places = opened.page.evaluate(
            "[...document.querySelectorAll('#trade-offs .symbol')].map((one) => one.getBoundingClientRect().x)"
        )
        gaps = [after - before for before, after in itertools.pairwise(places)]
        assert max(gaps) - min(gaps) < 2


def test_printing_draws_what_was_not_seen_yet(visit):
    """Charts below the window are on paper too."""
    with visit(sample_page.usual_page()) as opened:
        opened.page.evaluate("redraw(); document.querySelectorAll('svg.chart').forEach((one) => one.remove())")
        opened.page.evaluate("window.dispatchEvent(new Event('beforeprint'))")
        assert opened.count("figure.curve svg.chart") == 3


CONTRAST = """() => {
    const style = getComputedStyle(document.documentElement);
    const light = (name) => {
        const hex = style.getPropertyValue(name).trim();
        const parts = [1, 3, 5].map((at) => parseInt(hex.slice(at, at + 2), 16) / 255)
            .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
        return 0.2126 * parts[0] + 0.7152 * parts[1] + 0.0722 * parts[2];
    };
    const against = (a, b) => (Math.max(light(a), light(b)) + 0.05) / (Math.min(light(a), light(b)) + 0.05);
    const words = ['--ink', '--quiet', '--accent', '--bad', '--good', '--warn'];
    const lines = ['--c0', '--c1', '--c2', '--c3', '--c4', '--c5', '--c6', '--c7', '--others'];
    const backs = ['--card', '--page', '--chip'];
    return { words: Math.min(...words.flatMap((one) => backs.map((back) => against(one, back)))),
             lines: Math.min(...lines.map((one) => against(one, '--card'))) };
}"""


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_words_and_lines_stand_out(visit, scheme):
    """By WCAG 2.2: 4.5 to 1 for text, 3 to 1 for what is drawn."""
    with visit(sample_page.usual_page(), scheme=scheme) as opened:
        found = opened.page.evaluate(CONTRAST)
        assert found["words"] >= 4.5
        assert found["lines"] >= 3
