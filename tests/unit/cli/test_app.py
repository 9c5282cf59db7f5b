"""The frame of the command line: usage, options, errors, and the process itself."""

import os
import pty
import re
import struct
import subprocess
import sys
import termios
from fcntl import ioctl
from pathlib import Path

import pytest

from model_checkpoint.cli.app import COMMANDS

DOCUMENTED = (Path(__file__).parents[3] / "docs/how-to/command-line.md").read_text(encoding="utf-8")

EVERY_COMMAND = {
    "ls": [],
    "show": ["digits:best"],
    "best": ["digits"],
    "metrics": ["digits"],
    "compare": ["digits", "-m", "val_loss"],
    "query": ["SELECT count(*) FROM checkpoints"],
    "perf": [],
    "replay": ["digits", "--trials", "1"],
    "report": ["digits"],
    "verify": ["digits:best"],
    "scrub": [],
    "diff": ["digits:10", "digits:20"],
    "inspect": ["digits:best"],
    "prune": ["--yes"],
    "restore": [],
    "pin": ["digits:20"],
    "unpin": ["digits:20"],
    "alias": ["digits:20"],
    "export": ["digits:best", "exported"],
    "reindex": [],
    "doctor": [],
}


def test_every_command_is_tested_here():
    """The table above has each command that there is."""
    assert list(EVERY_COMMAND) == list(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_runs_as_a_process_and_speaks_json(mckpt_process, root, command):
    """Each command works in a process of its own, by MCKPT_ROOT, and prints one JSON object of documented keys."""
    done = mckpt_process(command, *EVERY_COMMAND[command], "--json", MCKPT_ROOT=str(root))
    assert (done.code, done.err) == (0, "")
    assert all(f"`{key}`" in DOCUMENTED for key in done.json)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(mckpt, command):
    """Each command says what it does and takes the shared options."""
    done = mckpt(command, "--help")
    assert done.code == 0
    for option in ("-C, --root DIR", "--json", "--debug"):
        assert option in done.out


def test_help_lists_all_commands(mckpt):
    """The help lists every command in one line each; without a command it is shown, as wrong usage."""
    done = mckpt("--help")
    assert done.code == 0
    assert [line.split()[0] for line in done.out.partition("Commands:\n")[2].splitlines()] == list(COMMANDS)
    bare = mckpt()
    assert (bare.code, bare.out) == (2, done.out)


def test_shared_options_stand_before_or_after_the_command(mckpt, root):
    """-C and --json mean the same on either side; what stands later wins."""
    after = mckpt("ls", "-C", root, "--json")
    assert mckpt("-C", root, "--json", "ls").out == after.out
    assert mckpt("-C", "nowhere", "ls", "-C", root, "--json").out == after.out


def test_the_working_directory_is_found(mckpt, root, monkeypatch):
    """Inside of a store no option is needed."""
    monkeypatch.chdir(root)
    assert mckpt("ls").code == 0


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["lss"], "No such command 'lss'"),
        (["ls", "--nope"], "--nope"),
        (["ls", "a", "b"], "unexpected extra argument"),
        (["show"], "Missing argument 'REF'"),
        (["ls", "-n", "0"], "0 is not in the range"),
        (["-C", "", "ls"], "--root is empty"),
    ],
)
def test_wrong_usage_is_one_line_and_2(mckpt, words, message):
    """Wrong usage is told in one line on standard error."""
    done = mckpt(*words)
    assert (done.code, done.out, done.err.count("\n")) == (2, "", 1)
    assert done.err.startswith("mckpt: ")
    assert message in done.err


def test_debug_shows_the_traceback(mckpt_process, tmp_path):
    """--debug and MCKPT_DEBUG raise what otherwise is one line."""
    words = ["-C", tmp_path / "nowhere", "ls"]
    assert "Traceback" not in mckpt_process(*words).err
    assert "Traceback" in mckpt_process(*words, "--debug").err
    assert "Traceback" in mckpt_process(*words, MCKPT_DEBUG="1").err


def test_an_unexpected_error_is_one_line_too(mckpt, root, monkeypatch):
    """A bug of ours is told as such, without a traceback, and with how to see it."""
    monkeypatch.setattr("model_checkpoint.cli.ls.read_views", lambda *_: 1 / 0)
    done = mckpt("-C", root, "ls")
    assert done.code == 1
    assert done.err == "mckpt: unexpected ZeroDivisionError: division by zero (--debug shows where)\n"


def test_interrupted_is_130(mckpt, root, monkeypatch):
    """Ctrl-C ends as shells expect."""

    def interrupt(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("model_checkpoint.cli.ls.read_views", interrupt)
    assert mckpt("-C", root, "ls").code == 130


def test_names_that_no_encoding_has_are_printed(mckpt_process, tmp_path):
    """A path of bytes that are no text, and a narrow standard output, do not break a message."""
    strange = os.fsencode(tmp_path) + b"/\xff\n"
    done = mckpt_process("-C", os.fsdecode(strange), "ls", PYTHONIOENCODING="ascii")
    assert done.code == 3
    assert "\\udcff\\n does not exist" in done.err


def test_a_narrow_output_gets_plain_signs_and_escapes(mckpt_process, root):
    """What standard output cannot encode is printed in ASCII of the same width, or as escapes; never a traceback."""
    done = mckpt_process("-C", root, "report", "digits", PYTHONIOENCODING="ascii")
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("runs - 1 experiment - 6 checkpoints - ")
    whole = mckpt_process("-C", root, "report", "digits", PYTHONIOENCODING="utf-8").out
    assert any(c in whole for c in "▁▂▃▄▅▆▇█")
    assert list(map(len, done.out.splitlines())) == list(map(len, whole.splitlines()))
    titled = mckpt_process("-C", root, "report", "digits", "--title", "größe", PYTHONIOENCODING="ascii")
    assert titled.out.startswith("gr\\xf6\\xdfe - ")


@pytest.mark.parametrize(("locale", "is_plain"), [("C", True), ("POSIX", True), ("C.UTF-8", False), ("", False)])
def test_a_terminal_of_the_locale_c_gets_ascii(place, root, monkeypatch, locale, is_plain):
    """Who sets LANG=C wants no other signs; where no locale is set at all, as in containers, nobody said so."""
    for name in ("LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("LANG", locale)
    shown = in_terminal(["-C", root, "report", "digits"], 80)
    assert shown.isascii() is is_plain
    assert ("·" in shown) is not is_plain


def in_terminal(words, columns):
    """What a command shows on a terminal of so many columns, standard error included."""
    terminal, child = pty.openpty()
    ioctl(child, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    command = [sys.executable, "-m", "model_checkpoint.cli", *map(str, words)]
    environment = {**os.environ, "TERM": "xterm-256color"}
    process = subprocess.Popen(command, stdin=child, stdout=child, stderr=child, env=environment)
    os.close(child)
    shown = b""
    try:
        while block := os.read(terminal, 65536):
            shown += block
    except OSError:  # the other side was closed
        pass
    os.close(terminal)
    assert process.wait() == 0
    return shown.decode()


def visible(text):
    """The lines without escape sequences."""
    return re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).replace("\r\n", "\n").splitlines()


@pytest.mark.parametrize("columns", [80, 120])
def test_a_terminal_gets_colour_and_its_width(place, root, columns):
    """On a terminal a list is coloured, and no line is longer than it."""
    shown = in_terminal(["-C", root, "ls", "digits"], columns)
    assert "\x1b[1mSTEP\x1b[0m" in shown
    assert max(map(len, visible(shown))) <= columns


def test_a_terminal_without_colour_stays_plain(place, root, monkeypatch):
    """NO_COLOR is honoured on a terminal."""
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in in_terminal(["-C", root, "ls", "digits"], 80)


def test_progress_is_shown_on_a_terminal(place, root):
    """A verification shows a bar while it runs, and the result after it."""
    shown = in_terminal(["-C", root, "verify", "--all"], 100)
    assert "verifying" in shown
    assert visible(shown)[-1].endswith("all sound")
