"""`mckpt ls`: what there is, and why each checkpoint is kept."""

from __future__ import annotations

import click

from model_checkpoint.cli.checkpoints import checkpoint_json, columns, metric_names, row, summary
from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.render import escape, print_json, print_line, print_table
from model_checkpoint.cli.view import ExperimentView, read_views
from model_checkpoint.database.listing import Listing
from model_checkpoint.utils.clock import utc_now
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["ls_command"]

_LIMIT = 50


@command("ls")
@click.argument("experiment", required=False)
@click.option(
    "-n",
    "--limit",
    type=click.IntRange(min=1),
    default=_LIMIT,
    show_default=True,
    help="How many of each experiment, newest first.",
)
@click.option("-a", "--all", "everything", is_flag=True, help="All of them.")
def ls_command(session: Session, *, experiment: str | None, limit: int, everything: bool) -> ExitCode:
    """List checkpoints, newest first, with the reason each is kept."""
    with Listing.open(session.store_root) as listing:
        views = read_views(listing, experiment)
    bound = None if everything else limit
    if session.as_json:
        print_json({"root": str(session.root), "experiments": [_as_json(view, bound) for view in views]})
        return ExitCode.OK
    if not views:
        print_line(f"no experiments in {escape(str(session.root))}")
    for index, view in enumerate(views):
        if index:
            print_line()
        _print_view(view, bound)
    return ExitCode.OK


def _print_view(view: ExperimentView, limit: int | None) -> None:
    print_line(heading(view), style="bold")
    if not view.checkpoints:
        return print_line("no checkpoints")
    shown = view.checkpoints[:limit]
    metrics, now = metric_names(shown, view.info.monitor), utc_now()
    print_table(columns(metrics), [row(info, view.reasons_of(info), metrics, now) for info in shown])
    freed_bytes = view.plan.freed_bytes if view.plan is not None else 0
    return print_line(summary(len(shown), len(view.checkpoints), view.nbytes, freed_bytes))


def heading(view: ExperimentView) -> str:
    """``gpt2 · val_loss, less is better · keep last(3) | best(2)``."""
    info = view.info
    better = {"min": ", less is better", "max": ", more is better", None: ""}[info.mode]
    parts = [
        info.name,
        info.criterion or (f"{info.monitor}{better}" if info.monitor else ""),
        f"keep {info.keep or 'all()'}",
    ]
    return escape(" · ".join(part for part in parts if part))


def _as_json(view: ExperimentView, limit: int | None) -> JsonValue:
    return {
        "name": view.info.name,
        "monitor": view.info.monitor,
        "mode": view.info.mode,
        "criterion": view.info.criterion,
        "keep": view.info.keep,
        "count": len(view.checkpoints),
        "bytes": view.nbytes,
        "checkpoints": [checkpoint_json(info, view.reasons_of(info)) for info in view.checkpoints[:limit]],
    }
