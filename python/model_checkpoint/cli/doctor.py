"""`mckpt doctor`: what this machine, this file system and this store grant."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from model_checkpoint.cli.command import Session, command
from model_checkpoint.cli.exit_codes import ExitCode
from model_checkpoint.cli.findings import Finding, Level
from model_checkpoint.cli.render import Cell, Column, print_json, print_line, print_table
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["doctor_command"]

_STYLES = {Level.OK: "green", Level.WARN: "yellow", Level.FAIL: "red"}


@command("doctor")
def doctor_command(session: Session) -> ExitCode:
    """Check the machine, the file system and the store.

    The catalog is compared with manifests, annotations and settings; files of tensors are not read. OK is as it should
    be, WARN is a promise that cannot be kept in full, or something to tidy up, FAIL is broken: exit code 1.
    """
    from model_checkpoint.cli.machine_checks import check_machine
    from model_checkpoint.cli.store_checks import check_store

    findings = [*check_machine(), *check_store(session.root)]
    if session.as_json:
        print_json({"findings": [_as_json(finding) for finding in findings]})
    else:
        _print(findings)
    return ExitCode.FAILED if any(finding.level is Level.FAIL for finding in findings) else ExitCode.OK


def _as_json(finding: Finding) -> JsonValue:
    level, items = finding.level.value, list(finding.items)
    return {"level": level, "check": finding.check, "text": finding.text, "items": items}


def _print(findings: Sequence[Finding]) -> None:
    rows: list[list[str | Cell]] = [[Cell(f.level.value, _STYLES[f.level]), f.check, f.text] for f in findings]
    print_table([Column(""), Column("CHECK"), Column("FOUND", wraps=True)], rows)
    levels = Counter(finding.level for finding in findings)
    print_line(", ".join(f"{levels[level]} {level.value}" for level in Level if levels[level]))
