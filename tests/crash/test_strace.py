"""The harness that stops processes at their system calls: it must do what it says, or it proves nothing."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from tests.harness import strace
from tests.harness.strace import Fail, Injection, Kill

pytestmark = pytest.mark.crash


@pytest.fixture
def there(nursery, memory_path):
    """Calls a function of this file in the nursery, with a directory and more arguments."""

    def there(function, *arguments):
        return nursery.ask(__name__, function.__name__, directory=str(memory_path), arguments=arguments)

    return there


# --- in the nursery ---------------------------------------------------------------------------------------------------


def make_in_threads(directory, arguments):
    """Two threads make five directories each; the one with a number is not made any more."""
    (at,) = arguments

    def make(name):
        for number in range(5):
            os.mkdir(f"{directory}/{name}{number}")

    def act():
        threads = [threading.Thread(target=make, args=name) for name in "ab"]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    trace = strace.follow(lambda: act, Injection(Kill(), at, strace.named("mkdir")))
    return trace.status, trace.injected, len(trace.calls)


ACTIONS = {
    "nothing": None,
    "fail the second": Injection(Fail(errno.EIO), 2, strace.named("pwrite64")),
    "fail all from the second on": Injection(Fail(errno.ENOSPC), 2, strace.named("pwrite64"), lasting=True),
    "another file": Injection(Fail(errno.EIO), 1, lambda call: call.name == "pwrite64" and call.file.endswith("other")),
}


def write_thrice(directory, arguments):
    """Write "abcd" three times; what each write has returned, or minus its errno, and what is in the file."""
    (action,) = arguments
    results = Path(directory, "results")

    def act():
        fd = os.open(f"{directory}/file", os.O_CREAT | os.O_TRUNC | os.O_WRONLY)
        done = [attempt(fd) for _ in range(3)]
        results.write_text(" ".join(map(str, done)))

    def attempt(fd):
        try:
            return os.pwrite(fd, b"abcd", os.lseek(fd, 0, os.SEEK_END))
        except OSError as error:
            return -error.errno

    strace.follow(lambda: act, ACTIONS[action])
    return results.read_text(), Path(directory, "file").read_text()


def die_early(directory, arguments):
    try:
        strace.follow(lambda: os._exit(3))
    except ChildProcessError as error:
        return str(error)


def sleep_long(directory, arguments):
    try:
        strace.follow(lambda: lambda: time.sleep(100), timeout_s=1)
    except TimeoutError as error:
        return str(error)


def run_a_program(directory, arguments):
    trace = strace.follow(lambda: lambda: os.execv("/bin/true", ["true"]))
    return trace.status, [name for name in trace.calls if name in {"execve", "exit_group"}]


# --- asked for --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("at", [1, 6, 10])
def test_calls_are_counted_over_all_threads_and_the_one_with_the_number_is_not_made(there, memory_path, at):
    """Of ten calls in two threads, exactly those before the kill have happened."""
    assert there(make_in_threads, at) == [-9, "mkdir", at]
    assert len(list(memory_path.iterdir())) == at - 1


def test_a_number_beyond_the_end_does_nothing_and_says_so(there, memory_path):
    """The process ends by itself, and its calls were counted."""
    assert there(make_in_threads, 11) == [0, None, 10]
    assert len(list(memory_path.iterdir())) == 10


@pytest.mark.parametrize(
    ("action", "results", "content"),
    [
        ("nothing", "4 4 4", "abcdabcdabcd"),
        ("fail the second", f"4 -{errno.EIO} 4", "abcdabcd"),
        ("fail all from the second on", f"4 -{errno.ENOSPC} -{errno.ENOSPC}", "abcd"),
        ("another file", "4 4 4", "abcdabcdabcd"),
    ],
)
def test_a_call_fails_lies_or_is_cut_short(there, memory_path, action, results, content):
    """Its result is the one injected, and the file has what was really written."""
    assert there(write_thrice, action) == [results, content]


def test_programs_can_be_followed_from_their_start(there):
    """After an exec the calls go on to be counted."""
    assert there(run_a_program) == [0, ["execve", "exit_group"]]


def test_a_child_that_dies_early_or_hangs_is_reported(there):
    """Neither keeps its test waiting."""
    assert "died while it prepared" in there(die_early)
    assert "still running after 1 s" in there(sleep_long)


def test_there_must_be_such_a_call():
    """A misspelt name would inject nothing, and so prove everything."""
    with pytest.raises(ValueError, match="fsnyc"):
        strace.named("fsync", "fsnyc")
