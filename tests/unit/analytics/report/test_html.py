"""The page of a report as a file."""

from __future__ import annotations

import base64
import hashlib
import json
import math
import re
from html.parser import HTMLParser

from model_checkpoint.analytics.report.html import render_html
from model_checkpoint.analytics.report.page import Page
from tests.harness import sample_page


class Elements(HTMLParser):
    """Each element's name, attributes and text, as a browser takes the file apart."""

    def __init__(self, text):
        super().__init__()
        self.found, self.is_inside = [], False
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.found.append([tag, dict(attrs), ""])
        self.is_inside = True

    def handle_data(self, data):
        if self.is_inside:
            self.found[-1][2] += data

    def handle_endtag(self, tag):
        self.is_inside = False

    def one(self, tag, **attributes):
        (only,) = [found for found in self.found if found[0] == tag and attributes.items() <= found[1].items()]
        return only


def data_of(text):
    return json.loads(Elements(text).one("script", type="application/json")[2])


def test_a_browser_may_run_and_load_only_what_is_ours():
    """The policy names the digests of the script and the style in the file, and nothing else."""
    page = Elements(render_html(sample_page.hostile_page()))
    (policy,) = [one[1]["content"] for one in page.found if one[1].get("http-equiv") == "Content-Security-Policy"]
    script = next(one[2] for one in page.found if one[0] == "script" and "type" not in one[1])
    digests = {
        name: "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()
        for name, text in (("script", script), ("style", page.one("style")[2]))
    }
    assert policy == (
        f"default-src 'none'; script-src '{digests['script']}'; style-src '{digests['style']}'; "
        f"base-uri 'none'; form-action 'none'"
    )


def test_names_stay_inside_of_the_data():
    """There are as many elements as without them, and the data has them unchanged."""
    hostile, usual = (render_html(page) for page in (sample_page.hostile_page(), sample_page.usual_page()))
    assert [one[0] for one in Elements(hostile).found] == [one[0] for one in Elements(usual).found]
    assert data_of(hostile)["experiments"][0]["name"] == sample_page.HOSTILE
    assert "<img" not in hostile
    assert "\u202e" not in hostile


def test_nothing_is_fetched():
    """The only address in the file is the name of SVG, which nobody asks for."""
    text = render_html(sample_page.usual_page())
    assert set(re.findall(r"https?://[^'\"\s<]+", text)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"\b(?:src|href)=|@import|url\(", text.replace('href="#experiments"', ""))


def test_gaps_are_null_and_numbers_are_short():
    """JSON has no NaN; six digits are more than a screen shows."""
    loss = data_of(render_html(sample_page.usual_page()))["charts"][0]
    values = loss["lines"][0]["y"]
    assert values[50:55] == [None] * 5
    assert all(len(str(value).lstrip("0.")) <= 9 for value in values if value)
    assert loss["lines"][0]["marks"][0] == {
        "kind": "not finite",
        "step": 50,
        "text": "not finite from step 50, 5 times",
    }


def test_a_long_series_is_sent_reduced_with_its_means():
    """A hundred thousand points are some thousands, and their extremes are among them."""
    (line,) = next(one for one in data_of(render_html(sample_page.usual_page()))["charts"] if one["metric"] == "long")[
        "lines"
    ]
    assert line["points"] == 100_000
    assert len(line["x"]) < 6 * 400
    assert len(line["mean_x"]) == len(line["mean_y"]) == 400
    assert math.isclose(max(line["y"]), 1.1, rel_tol=1e-5)


def test_fifty_experiments_make_a_page_that_can_be_mailed():
    """However many points were logged: at most a few megabytes."""
    experiments = [sample_page.experiment(f"run-{n}") for n in range(50)]
    curves = [sample_page.curve(n, name, points=20_000) for n in range(50) for name in ("loss", "accuracy", "lr")]
    assert len(render_html(sample_page.page(experiments, curves))) < 8_000_000


def test_an_empty_page_is_one():
    """Nothing is missing where there is nothing."""
    found = data_of(render_html(sample_page.empty_page()))
    assert {key for key, value in found.items() if not value} == {
        "experiments", "settings", "groups", "charts", "checkpoints", "trade_offs", "runs", "operations",
    }  # fmt: skip
    assert set(found) - {"title", "made_at"} <= {*Page.__dataclass_fields__, "stages"}
