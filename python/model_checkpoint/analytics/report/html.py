"""A page as one file of HTML that needs nothing else: no network, no fonts, no library.

Everything that is shown comes as JSON, and the script puts it into the page as text, never as markup. What a browser
may run is bound by a Content-Security-Policy to the digests of our own script and style: were a name taken for markup
after all, nothing in it would run, and nothing would be fetched.
"""

from __future__ import annotations

import base64
import hashlib
import html
import json
from importlib import resources
from string import Template

from model_checkpoint.analytics.report.page import Page
from model_checkpoint.analytics.report.payload import payload_of

__all__ = ["render_html"]

_SCRIPTS = ("text", "scale", "chart", "curves", "tables", "trade_offs", "lineage", "timing", "main")


def render_html(page: Page) -> str:
    """The file's text; to be written as UTF-8."""
    style = _asset("page.css")
    script = "\n".join(["'use strict';", *(_asset(f"{name}.js") for name in _SCRIPTS)])
    return Template(_asset("page.html")).substitute(
        title=_text(page.title),
        policy=f"default-src 'none'; script-src '{_digest(script)}'; style-src '{_digest(style)}'; "
        f"base-uri 'none'; form-action 'none'",
        style=style,
        script=script,
        data=_inline_json(page),
    )


def _asset(name: str) -> str:
    return resources.files(__package__).joinpath("assets", name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    """How a Content-Security-Policy names an inline script or style."""
    return "sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode("ascii")


def _text(text: str) -> str:
    """Text of an element; what would hide or turn what stands beside it is shown as an escape."""
    visible = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text)
    return html.escape(visible).encode("ascii", "xmlcharrefreplace").decode("ascii")


def _inline_json(page: Page) -> str:
    """JSON that cannot end the element that it stands in, nor begin a comment in it."""
    text = json.dumps(payload_of(page), ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
