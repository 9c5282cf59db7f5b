"""Pickles that run code when `pickle` loads them, in every way there is, in every kind of file that torch reads."""

from __future__ import annotations

import io
import random
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping

__all__ = ["CALLS", "CONTAINERS", "hostile_files", "pickles"]

CALLS: tuple[tuple[str, str], ...] = (
    ("os", "system"),
    ("posix", "system"),
    ("nt", "system"),
    ("os", "popen"),
    ("os", "remove"),
    ("subprocess", "check_output"),
    ("subprocess", "Popen"),
    ("builtins", "eval"),
    ("builtins", "exec"),
    ("builtins", "compile"),
    ("builtins", "__import__"),
    ("builtins", "getattr"),
    ("builtins", "open"),
    ("__builtin__", "eval"),
    ("importlib", "import_module"),
    ("runpy", "run_path"),
    ("pickle", "loads"),
    ("_pickle", "loads"),
    ("marshal", "loads"),
    ("types", "CodeType"),
    ("types", "FunctionType"),
    ("code", "interact"),
    ("codeop", "compile_command"),
    ("timeit", "timeit"),
    ("cProfile", "run"),
    ("pdb", "run"),
    ("bdb", "Bdb.run"),
    ("pty", "spawn"),
    ("ctypes", "CDLL"),
    ("webbrowser", "open"),
    ("urllib.request", "urlopen"),
    ("socket", "create_connection"),
    ("shutil", "rmtree"),
    ("pydoc", "pipepager"),
    ("operator", "attrgetter"),
    ("functools", "partial"),
    ("functools", "reduce"),
    ("copyreg", "_reconstructor"),
    ("logging.config", "valueAsConvertible"),
    ("numpy.testing._private.utils", "runstring"),
    ("numpy.f2py.crackfortran", "getlincoef"),
    ("numpy", "load"),
    ("torch", "load"),
    ("torch.hub", "load"),
    ("torch.jit", "load"),
    ("torch.serialization", "load"),
    ("torch.storage", "_load_from_bytes"),
    ("torch.utils.collect_env", "run"),
    ("torch._dynamo.guards", "GuardBuilder.get"),
    ("torch.distributed.rpc.internal", "_run_function"),
    ("torch._tensor", "_rebuild_from_type_v2"),
    ("torch._utils", "_rebuild_wrapper_subclass"),
    ("torch._utils", "_rebuild_device_tensor_from_numpy"),
    ("torch._utils", "_rebuild_parameter_with_state"),
    ("collections", "OrderedDict.__init_subclass__"),
    ("mckpt_canary", "run"),
    ("mckpt_canary.inside", "run"),
)
"""What hostile pickles call. The last two are modules that lie on the path of the process that loads them."""


# --- the machine ------------------------------------------------------------------------------------------------------


def _text(value: str) -> bytes:
    raw = value.encode()
    return b"X" + struct.pack("<I", len(raw)) + raw


def _short(value: str) -> bytes:
    raw = value.encode()
    return b"\x8c" + bytes([len(raw)]) + raw


def _reduced(module: str, name: str, argument: str) -> bytes:
    return b"\x80\x02c%s\n%s\n%s\x85R." % (module.encode(), name.encode(), _text(argument))


def _stacked(module: str, name: str, argument: str) -> bytes:
    return b"\x80\x04" + _short(module) + _short(name) + b"\x93" + _text(argument) + b"\x85R."


def _instance(module: str, name: str, argument: str) -> bytes:
    return b"(" + _text(argument) + b"i%s\n%s\n." % (module.encode(), name.encode())


def _object(module: str, name: str, argument: str) -> bytes:
    return b"(c%s\n%s\n%so." % (module.encode(), name.encode(), _text(argument))


def _new(module: str, name: str, argument: str) -> bytes:
    return b"\x80\x02c%s\n%s\n%s\x85\x81." % (module.encode(), name.encode(), _text(argument))


def _new_with_names(module: str, name: str, argument: str) -> bytes:
    return b"\x80\x04c%s\n%s\n%s\x85}\x92." % (module.encode(), name.encode(), _text(argument))


def _state(module: str, name: str, argument: str) -> bytes:
    """An allowed object that is given ``__setstate__``, and then a state."""
    call = b"c%s\n%s\n" % (module.encode(), name.encode())
    return b"\x80\x02ccollections\nOrderedDict\n)R}" + _text("__setstate__") + call + b"sb" + _text(argument) + b"b."


def _in_a_dict(module: str, name: str, argument: str) -> bytes:
    """A value among honest ones, which are there before it is refused."""
    call = b"c%s\n%s\n%s\x85R" % (module.encode(), name.encode(), _text(argument))
    return b"\x80\x02}(" + _text("step") + b"K\x01" + _text("model") + call + b"u."


def _by_rebuild(module: str, name: str, argument: str) -> bytes:
    """Through a function of torch's that calls what it is given."""
    call = b"c%s\n%s\n" % (module.encode(), name.encode())
    return b"\x80\x02ctorch._tensor\n_rebuild_from_type_v2\n(" + call + call + _text(argument) + b"\x85NtR."


def _persistent(module: str, name: str, argument: str) -> bytes:
    """As the type of a tensor's storage."""
    call = b"c%s\n%s\n" % (module.encode(), name.encode())
    return b"\x80\x02(" + _text("storage") + call + _text(argument) + _text("cpu") + b"K\x01tQ."


_FORMS: tuple[Callable[[str, str, str], bytes], ...] = (
    *(_reduced, _stacked, _instance, _object, _new, _new_with_names),
    *(_state, _in_a_dict, _by_rebuild, _persistent),
)


def pickles(argument: str) -> Iterator[bytes]:
    """Every call in every form."""
    for form in _FORMS:
        for module, name in CALLS:
            yield form(module, name, argument)


# --- files ------------------------------------------------------------------------------------------------------------


def _archive(pickle: bytes) -> bytes:
    """As ``torch.save`` writes it."""
    return _zip({"archive/data.pkl": pickle, "archive/version": b"3\n", "archive/byteorder": b"little"})


def _script(pickle: bytes) -> bytes:
    """As ``torch.jit.save`` writes it, with code."""
    code = b"def forward(self, x: Tensor) -> Tensor:\n  return x\n"
    files = {"archive/data.pkl": pickle, "archive/constants.pkl": pickle, "archive/version": b"3\n"}
    return _zip(files | {"archive/code/__torch__.py": code})


def _zip(files: Mapping[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return buffer.getvalue()


def _legacy(pickle: bytes) -> bytes:
    """As torch wrote it before it had archives: a magic number, a version, the system, the object, and the keys."""
    magic = b"\x80\x02\x8a\x0al\xfc\x9cF\xf9 j\xa8P\x19."
    system = b"\x80\x02}(" + _text("little_endian") + b"\x88u."
    return magic + b"\x80\x02M\xe9\x03." + system + pickle + b"\x80\x02]."


def _hidden(pickle: bytes) -> bytes:
    """In the place of the version or of the magic number, where a reader may not expect it."""
    return pickle + _legacy(pickle)


CONTAINERS: tuple[Callable[[bytes], bytes], ...] = (_archive, _legacy, _script, _hidden, lambda pickle: pickle)


def hostile_files(rng: random.Random, argument: str) -> Iterator[bytes]:
    """Every pickle in every kind of file; then some of them, damaged, without end."""
    everything = [wrap(pickle) for wrap in CONTAINERS for pickle in pickles(argument)]
    rng.shuffle(everything)
    yield from everything
    while True:
        raw = bytearray(rng.choice(everything))
        for _ in range(rng.choice((1, 1, 2, 4))):
            raw[rng.randrange(len(raw))] = rng.randrange(256)
        yield bytes(raw)
