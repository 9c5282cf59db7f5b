"""Signals, forks, budgets and broken installations: what takes a process of its own."""

from __future__ import annotations

import sysconfig

import pytest

# Each works for many seconds if nothing stops it: the same 16 MiB over and over.
PREPARE = """
import os, signal, threading, time
n = 10_000
data, dest = bytes(2**24), bytearray(2**24)
fd = os.open("f", os.O_RDWR | os.O_CREAT)
os.unlink("f")  # its blocks go when the process does
table = _native.write_segments(fd, "f", [data], ["w"], data_offset=4096).table
mapping = _native.map_file(fd, "f", 4096 + 2**24)
spans = ([4096] * n, [2**24] * n)
chunks = {"table": table, "first_chunks": [0] * n}
"""
LONG_CALLS = {
    "read_spans": '_native.read_spans(fd, "f", *spans, [dest] * n, ["w"] * n, **chunks)',
    "write_segments": '_native.write_segments(fd, "f", [data] * 200, ["w"] * 200, data_offset=4096, threads=1)',
    "digest_chunks": "_native.digest_chunks([data] * n)",
    "copy_buffers": "_native.copy_buffers(dest, [0] * 8 * n, [data] * 8 * n)",
    "verify_mapping": '_native.verify_mapping(mapping, "f", *spans, ["w"] * n, **chunks)',
}


@pytest.mark.parametrize("call", LONG_CALLS)
def test_ctrl_c_stops_a_long_call_and_leaves_nothing_running(run_script, call):
    """The call raises KeyboardInterrupt, and from then on the process uses no CPU."""
    result = run_script(f"""{PREPARE}
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT)).start()
try:
    {LONG_CALLS[call]}
except KeyboardInterrupt:
    before = time.process_time()
    time.sleep(0.1)
    print("stopped, busy for", round(time.process_time() - before, 2))
""")
    assert result.stderr == ""
    assert result.stdout.startswith("stopped, busy for 0.0")


def test_a_signal_handlers_own_exception_comes_out(run_script):
    """What the handler raises is what the call raises; a handler that returns changes nothing."""
    result = run_script(f"""{PREPARE}
class Stop(Exception): pass
calls = []
def handler(number, frame):
    calls.append(number)
    if len(calls) == 2: raise Stop("of the handler")
signal.signal(signal.SIGALRM, handler)
signal.setitimer(signal.ITIMER_REAL, 0.1, 0.2)
try:
    _native.digest_chunks([data] * n)
except Stop as error:
    print(len(calls), error, len(_native.digest_chunks([data])))
""")
    assert (result.stdout, result.stderr) == (f"2 of the handler {16 * 36}\n", "")


def test_a_forked_child_works_even_if_the_parent_was_in_a_call(run_script):
    """Child and parent both go on with a pool of their own."""
    result = run_script("""
        import os, threading
        data = [bytes(2**24)]
        expected = _native.digest_chunks(data)
        is_over = threading.Event()
        def work():
            while not is_over.is_set(): _native.digest_chunks(data)
        busy = threading.Thread(target=work)
        busy.start()
        for _ in range(10):
            child = os.fork()
            if child == 0:
                os._exit(0 if _native.digest_chunks(data) == expected else 1)
            assert os.waitpid(child, 0)[1] == 0
        is_over.set()
        busy.join()
        print(_native.digest_chunks(data) == expected)
    """)
    assert (result.stdout, result.stderr) == ("True\n", "")


def test_budgets_come_from_the_environment(run_script):
    """MCKPT_THREADS and MCKPT_STAGING_BYTES set the budgets, and the setters change them."""
    result = run_script(
        """
        print(_native.get_threads(), _native.get_staging_bytes())
        _native.set_threads(5)
        _native.set_staging_bytes(2**23)
        print(_native.get_threads(), _native.get_staging_bytes())
        """,
        MCKPT_THREADS="3",
        MCKPT_STAGING_BYTES="1000000",
    )
    assert (result.stdout, result.stderr) == ("3 1000000\n5 8388608\n", "")


@pytest.mark.parametrize("value", ["0", "-1", "two", ""])
def test_a_budget_that_is_no_positive_number_is_refused(run_script, value):
    """A wrong setting is an error that names it, not a default."""
    result = run_script(
        """
        for get in (_native.get_threads, _native.get_staging_bytes):
            try:
                get()
            except ValueError as error:
                print(error)
        for set in (_native.set_threads, _native.set_staging_bytes):
            try:
                set(0)
            except ValueError:
                print("refused")
        """,
        MCKPT_THREADS=value,
        MCKPT_STAGING_BYTES=value,
    )
    assert result.stderr == ""
    assert f"MCKPT_THREADS={value} is not" in result.stdout
    assert f"MCKPT_STAGING_BYTES={value} is not" in result.stdout
    assert result.stdout.count("refused") == 2


def test_memory_beyond_the_callers_buffers_stays_in_the_budget(run_script):
    """Writing and reading 256 MiB takes less than 48 MiB more than the tensors."""
    result = run_script("""
        import os, resource
        size, count = 2**20 + 1, 256
        data = [bytes(size)] * count
        dest = [bytearray(size)] * count
        fd = os.open("f", os.O_RDWR | os.O_CREAT)
        def peak(): return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
        before = peak()
        names = ["w"] * count
        table = _native.write_segments(fd, "f", data, names, data_offset=4096).table
        offsets = [4096 + i * size for i in range(count)]
        for io in ("direct", "buffered"):
            _native.read_spans(fd, "f", offsets, [size] * count, dest, names, io=io, table=table,
                               first_chunks=range(0, 2 * count, 2))
        print(peak() - before)
    """)
    assert result.stderr == ""
    assert int(result.stdout) < 48


def test_a_missing_extension_says_what_was_looked_for(run_script):
    """Without the extension the ImportError names interpreter, platform and file."""
    result = run_script("""
        import sys
        for name in [name for name in sys.modules if name.startswith("model_checkpoint")]:
            del sys.modules[name]
        sys.modules["model_checkpoint._native._core"] = None
        try:
            import model_checkpoint._native
        except ImportError as error:
            print(error)
    """)
    assert result.stderr == ""
    assert sysconfig.get_platform() in result.stdout
    assert f"_core{sysconfig.get_config_var('EXT_SUFFIX')}" in result.stdout
