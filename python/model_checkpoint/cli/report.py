"""`mckpt report`: what there is to know of experiments, on the terminal or as one page of HTML."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import click

from model_checkpoint.analytics.reader import MetricsReader
from model_checkpoint.analytics.report.collect import collect
from model_checkpoint.analytics.report.html import render_html
from model_checkpoint.analytics.report.page import Page, Subject
from model_checkpoint.analytics.report.payload import payload_of
from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.metric_options import skip_damaged
from model_checkpoint.cli.render import escape, print_json, print_line
from model_checkpoint.cli.report_text import print_report
from model_checkpoint.cli.view import ExperimentView, read_views
from model_checkpoint.database.listing import Listing
from model_checkpoint.monitoring.timing import OperationTiming
from model_checkpoint.monitoring.timing_log import TimingLog
from model_checkpoint.utils.atomic_file import replace_bytes
from model_checkpoint.utils.clock import utc_now
from model_checkpoint.utils.sizes import format_size

__all__ = ["report_command"]

_OPERATIONS = 300


@command("report")
@click.argument("experiments", nargs=-1)
@click.option("--html", "target", metavar="FILE", type=click.Path(dir_okay=False, path_type=Path),
              help="Write one page for a browser, which needs nothing else.")  # fmt: skip
@click.option("--title", help="Title of the page. Default: the store's directory.")
@skip_damaged
def report_command(
    session: Session, *, experiments: tuple[str, ...], target: Path | None, title: str | None, leave_out: bool
) -> ExitCode:
    """Report on experiments (all, if none is named): metrics, checkpoints and why they are kept, comparison, time."""
    root = session.store_root
    with Listing.open(root) as listing:
        views = [view for name in dict.fromkeys(experiments) or [None] for view in read_views(listing, name)]
    with MetricsReader.open(root, damaged="skip" if leave_out else "raise") as reader:
        page = collect(
            title or os.path.basename(os.path.realpath(root)),
            [_subject(view) for view in views],
            reader,
            operations=_operations(root, views if experiments else None),
            now=utc_now(),
        )
    if target is not None:
        _write(page, target, says=not session.as_json)
    if session.as_json:
        print_json(payload_of(page))
    elif target is None:
        print_report(page)
    return ExitCode.OK


def _subject(view: ExperimentView) -> Subject:
    ordered = tuple(sorted(view.checkpoints, key=lambda info: info.seq))
    reasons = {info.id: reasons for info in ordered if (reasons := view.reasons_of(info)) is not None}
    return Subject(view.info, ordered, reasons)


def _operations(root: Path, views: Sequence[ExperimentView] | None) -> list[OperationTiming]:
    """The last ones of the store, or of some experiments."""
    found = TimingLog(root).read(limit=_OPERATIONS)
    if views is None:
        return list(found)
    names = {view.info.name for view in views}
    return [timing for timing in found if timing.experiment in names]


def _write(page: Page, target: Path, *, says: bool) -> None:
    """Raises: StorageError: The file cannot be written."""
    data = render_html(page).encode()
    replace_bytes(target, data, durable=False)
    if says:
        print_line(escape(f"wrote {target} ({format_size(len(data))})"))
