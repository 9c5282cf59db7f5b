"""The group of commands: finds them lazily, runs one, and turns whatever ends it into an exit code."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Sequence

import click

from model_checkpoint.cli.command import with_shared_options
from model_checkpoint.cli.exit_codes import ExitCode, exit_code_of
from model_checkpoint.cli.narrow import tolerate_any_text
from model_checkpoint.cli.render import escape
from model_checkpoint.cli.warning_lines import warnings_in_lines
from model_checkpoint.errors import CheckpointError, StorageError

__all__ = ["COMMANDS", "run"]

# Command -> module, in the order of the help text. The modules are imported only when asked for.
COMMANDS = {
    "ls": "ls",
    "show": "show",
    "best": "best",
    "metrics": "metrics",
    "compare": "compare",
    "query": "query",
    "perf": "perf",
    "replay": "replay",
    "report": "report",
    "verify": "verify",
    "scrub": "scrub",
    "diff": "diff",
    "inspect": "inspect",
    "prune": "prune",
    "restore": "restore",
    "pin": "pin",
    "unpin": "pin",
    "alias": "alias",
    "export": "export",
    "reindex": "reindex",
    "doctor": "doctor",
}


class _LazyGroup(click.Group):
    """A group that imports the module of a command when the command is looked up."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's signature
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002 - the same
        if cmd_name not in COMMANDS:
            return None
        module = importlib.import_module(f"model_checkpoint.cli.{COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name}_command")
        return command


@click.group(
    cls=_LazyGroup,
    invoke_without_command=True,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
)
@with_shared_options
@click.option("--version", is_flag=True, help="Print the version and end.")
@click.pass_context
def _mckpt(ctx: click.Context, *, version: bool) -> ExitCode | None:
    """Look at, verify and care for checkpoints.

    A REF names a checkpoint: latest, best, a step (500), an alias (v3), an id, or one of them with its experiment in
    front (gpt2:best).

    Exit codes: 0 ok, 1 failed, 2 wrong usage, 3 not found, 4 integrity, 5 would change (a dry run with work to do).
    """
    if version:
        return _print_version()
    if ctx.invoked_subcommand is None:
        click.echo(ctx.get_help())
        return ExitCode.USAGE
    return None


def _print_version() -> ExitCode:
    from importlib.metadata import PackageNotFoundError, version

    try:
        number = version("model-checkpoint-engine")
    except PackageNotFoundError:
        number = "(not installed)"
    click.echo(f"mckpt {number}")
    return ExitCode.OK


def run(arguments: Sequence[str] | None = None) -> int:
    """Run one command. This is the process's boundary: every error ends here, as one line and an exit code."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    tolerate_any_text(sys.stdout, sys.stderr)
    try:
        with warnings_in_lines():
            code = _mckpt.main(args=words, prog_name="mckpt", standalone_mode=False)
        sys.stdout.flush()
        return int(code or ExitCode.OK)
    except BrokenPipeError:
        return _reader_went_away()
    except click.Abort:
        return ExitCode.INTERRUPTED
    except click.ClickException as error:
        _complain(_usage_message(error))
        return ExitCode.USAGE if isinstance(error, click.UsageError) else ExitCode.FAILED
    except (Exception, KeyboardInterrupt) as error:
        if "--debug" in words or os.environ.get("MCKPT_DEBUG"):
            raise
        _complain(_message(error))
        return exit_code_of(error)


def _reader_went_away() -> int:
    """`mckpt ls | head` closed our output: keep the interpreter from failing again when it flushes at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return ExitCode.FAILED


def _usage_message(error: click.ClickException) -> str:
    context = getattr(error, "ctx", None)
    hint = f" (see {context.command_path} --help)" if context is not None else ""
    return error.format_message().rstrip(".") + hint


def _message(error: BaseException) -> str:
    if isinstance(error, KeyboardInterrupt):
        return "interrupted"
    if isinstance(error, StorageError):
        return error.strerror or str(error)  # without the error number
    if isinstance(error, CheckpointError | OSError):
        return str(error)
    return f"unexpected {type(error).__name__}: {error} (--debug shows where)"


def _complain(message: str) -> None:
    print(f"mckpt: {escape(message)}", file=sys.stderr)
