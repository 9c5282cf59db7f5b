"""Recording what operations of ours do to the file system, with strace: a process of its own, and its parent's side.

The process imports everything and forks a child for each operation; strace follows them all and writes one file, in
which the beginnings and ends of operations are marked.
"""

from __future__ import annotations

import importlib
import json
import os
import shutil
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path
from typing import Self

from tests.harness.simulator.operations import Operation
from tests.harness.simulator.trace import CALLS, parse

__all__ = ["OperationFailedError", "Recorder", "unavailable"]

_REPOSITORY = Path(__file__).parents[3]
_BEGIN, _END = "BEGIN", "END"


class OperationFailedError(Exception):
    """What was recorded did not work."""


def unavailable() -> str | None:
    """Why nothing can be recorded here, or None."""
    if shutil.which("strace") is None:
        return "recording system calls needs strace"
    done = subprocess.run(["strace", "-o", os.devnull, "true"], capture_output=True, check=False)
    return None if done.returncode == 0 else f"strace cannot trace here: {done.stderr.decode(errors='replace')}"


class Recorder:
    """Runs operations on stores in a directory of its own, and says what they did.

    Args:
        base: The directory; stores are made in ``base/work``.
    """

    def __init__(self, base: Path) -> None:
        self._log, self._spoken = base / "strace.log", base / "spoken"
        self.work = base / "work"
        self.work.mkdir()
        self._spoken.touch()
        self._process = subprocess.Popen(
            [*_strace(self._log), sys.executable, "-m", __name__, str(self._spoken)],
            cwd=_REPOSITORY,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
        )
        self._lines = _following(self._log, self._process)

    def run(self, module: str, function: str, **arguments: object) -> tuple[Operation, ...]:
        """What ``function(root=…, say=…, **arguments)`` of a module does below `work`, its root.

        Raises:
            OperationFailedError: It raised an exception.
        """
        self._spoken.write_bytes(b"")
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        request = {"module": module, "function": function, "root": str(self.work), "arguments": arguments}
        self._process.stdin.write(json.dumps(request) + "\n")
        self._process.stdin.flush()
        status = self._process.stdout.readline()
        if status != "0\n":
            raise OperationFailedError(f"{function}({arguments}) ended with status {status!r}")
        return tuple(parse(self._between_marks(), str(self.work), str(self._spoken)))

    def _between_marks(self) -> Iterator[str]:
        begin, end = (f'"{_hex(mark)}"' for mark in (_BEGIN, _END))
        for line in self._lines:
            if begin in line:
                break
        for line in self._lines:
            if end in line:
                break
            yield line

    def close(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()
        self._lines.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _strace(log: Path) -> list[str]:
    options = ["-f", "-y", "-xx", "-s", str(2**28), "--seccomp-bpf", "-qq", "-e", f"trace={','.join(CALLS)}"]
    return ["strace", *options, "-e", "signal=none", "-o", str(log), "--"]


def _following(path: Path, process: subprocess.Popen[str]) -> Iterator[str]:
    """The lines of a file that is being written, as long as the process lives."""
    while not path.exists():
        assert process.poll() is None, "strace ended at once"
        time.sleep(0.01)
    with path.open(encoding="ascii", errors="replace") as file:
        part = ""
        while True:
            part += file.readline()
            if part.endswith("\n"):
                yield part
                part = ""
            elif process.poll() is not None:
                return
            else:
                time.sleep(0.001)


def _hex(text: str) -> str:
    return "".join(f"\\x{byte:02x}" for byte in f"{text}\n".encode())


# --- in the recorded process ------------------------------------------------------------------------------------------


def _serve(spoken: str) -> None:
    for line in sys.stdin:
        request = json.loads(line)
        pid = os.fork()
        if pid == 0:
            _perform(request, spoken)
        print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)


def _perform(request: dict[str, object], spoken: str) -> None:
    try:
        function = getattr(importlib.import_module(str(request["module"])), str(request["function"]))
        with open(spoken, "ab", buffering=0) as file:
            file.write(f"{_BEGIN}\n".encode())
            function(root=request["root"], say=lambda text: file.write(f"{text}\n".encode()), **request["arguments"])
            file.write(f"{_END}\n".encode())
    except BaseException:  # noqa: BLE001 - the child of a fork must not go on as its parent
        traceback.print_exc()
        os._exit(1)
    os._exit(0)


if __name__ == "__main__":
    import tests.harness.simulator.workloads  # noqa: F401 - what it imports takes far longer than what is recorded

    _serve(sys.argv[1])
