"""`mckpt show`: all that is known of one checkpoint."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import click

from model_checkpoint.analytics.finding import find
from model_checkpoint.cli.checkpoints import NOT_KEPT, checkpoint_json, state_text
from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.exit_codes import ExitCode, exit_code_of
from model_checkpoint.cli.render import (
    Column,
    ago,
    count,
    escape,
    number,
    print_facts,
    print_json,
    print_line,
    print_table,
)
from model_checkpoint.cli.target import Target, store_target
from model_checkpoint.cli.view import read_views
from model_checkpoint.database.listing import Listing
from model_checkpoint.errors import CheckpointError, CheckpointNotFoundError
from model_checkpoint.types import CheckpointInfo, CheckpointState
from model_checkpoint.utils.clock import utc_now
from model_checkpoint.utils.sizes import format_size
from model_checkpoint.utils.strict_json import JsonValue

if TYPE_CHECKING:
    from model_checkpoint.storage.manifest import Manifest

__all__ = ["show_command"]

_GENERATIONS = 10


@dataclass(frozen=True, slots=True)
class _Portrait:
    """A checkpoint with what belongs to it.

    Attributes:
        info: What the catalog knows.
        reasons: Why retention keeps it; empty if it does not, None if that cannot be told.
        ancestors: What its run resumed from, and what that one's did, as far as the catalog knows them.
        manifest: Its manifest, or None where it cannot be read.
        error: Why the manifest cannot be read, or None.
    """

    info: CheckpointInfo
    reasons: Sequence[str] | None
    ancestors: Sequence[CheckpointInfo]
    manifest: Manifest | None
    error: CheckpointError | None


@command("show")
@click.argument("ref")
def show_command(session: Session, *, ref: str) -> ExitCode:
    """Show all that is known of one checkpoint."""
    root = session.store_root
    with Listing.open(root) as listing:
        info = _resolve(listing, ref)
        reasons = read_views(listing, info.experiment)[0].reasons_of(info)
        ancestors = tuple(_ancestors(listing, info))
    portrait = _Portrait(info, reasons, ancestors, *_read_manifest(store_target(root, info)))
    if session.as_json:
        print_json(_as_json(portrait))
    else:
        _print(portrait, os.path.join(root, info.path))
    return ExitCode.OK if portrait.error is None else exit_code_of(portrait.error)


def _resolve(listing: Listing, ref: str) -> CheckpointInfo:
    """What is committed comes first; of what is lost or in the trash, the catalog still knows something."""
    try:
        return find(listing, ref)
    except CheckpointNotFoundError as error:
        try:
            return find(listing, ref, states=tuple(CheckpointState))
        except CheckpointNotFoundError:
            raise error from None


def _ancestors(listing: Listing, info: CheckpointInfo) -> Iterator[CheckpointInfo]:
    for _ in range(_GENERATIONS):
        if info.parent is None:
            return
        try:
            info = listing.get(info.parent)
        except CheckpointNotFoundError:
            return
        yield info


def _read_manifest(target: Target) -> tuple[Manifest | None, CheckpointError | None]:
    """Where there ought to be a manifest, what is wrong with it is part of what is shown."""
    if target.info is not None and target.info.state in (CheckpointState.TRASHED, CheckpointState.LOST):
        return None, None
    try:
        return target.open().manifest, None
    except CheckpointError as error:
        return None, error


def _print(portrait: _Portrait, directory: str) -> None:
    info, manifest, now = portrait.info, portrait.manifest, utc_now()
    print_line(escape(info.ref), style="bold")
    files = f" in {count(len(manifest.files), 'file')}" if manifest is not None else ""
    verified = f", {ago(info.verified_at, now)}" if info.verified_at is not None else ""
    print_facts(
        [
            ("state", state_text(info) + verified),
            ("kept because", _kept(portrait.reasons)),
            ("saved", f"{info.created_at:%Y-%m-%d %H:%M:%S} UTC, {ago(info.created_at, now)}"),
            ("size", format_size(info.nbytes) + files),
            *((f"metric {name}", number(value)) for name, value in sorted(info.metrics.items())),
            ("aliases", ", ".join(info.aliases)),
            *((f"tag {key}", value) for key, value in sorted(info.tags.items())),
            ("parent", " < ".join(ancestor.ref for ancestor in portrait.ancestors) or _unknown_parent(info)),
            ("id", info.id),
            ("content", info.content),
            ("backend", info.backend),
            ("directory", directory),
        ]
    )
    if portrait.error is not None:
        print_line()
        print_line(escape(f"its manifest cannot be used: {portrait.error}"), style="red")
    if manifest is not None:
        _print_manifest(manifest)


def _kept(reasons: Sequence[str] | None) -> str:
    return "" if reasons is None else ", ".join(reasons) or NOT_KEPT


def _unknown_parent(info: CheckpointInfo) -> str:
    return f"{info.parent} (the catalog does not know it)" if info.parent is not None else ""


def _print_manifest(manifest: Manifest) -> None:
    print_line()
    print_table(
        [Column("FILE"), Column("KIND"), Column("SIZE", right=True), Column("DIGEST")],
        [[file.name, file.kind, format_size(file.nbytes), file.digest] for file in manifest.files],
    )
    for heading, texts in (("METADATA", manifest.metadata), ("ENVIRONMENT", manifest.environment)):
        if texts:
            print_line()
            print_table([Column(heading), Column("", wraps=True)], sorted(texts.items()))


def _as_json(portrait: _Portrait) -> JsonValue:
    manifest = portrait.manifest
    return {
        **checkpoint_json(portrait.info, portrait.reasons),
        "ancestors": [ancestor.ref for ancestor in portrait.ancestors],
        "error": None if portrait.error is None else str(portrait.error),
        "files": None
        if manifest is None
        else [
            {"name": file.name, "kind": file.kind, "bytes": file.nbytes, "digest": file.digest}
            for file in manifest.files
        ],
        "metadata": None if manifest is None else dict(manifest.metadata),
        "environment": None if manifest is None else dict(manifest.environment),
        "durability": None
        if manifest is None
        else {
            "synced": manifest.durability.synced,
            "noreplace": manifest.durability.noreplace,
        },
    }
