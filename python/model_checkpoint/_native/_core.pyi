"""The compiled core: it moves, hashes and checks bytes, and knows nothing of what they mean.

Buffers are C-contiguous objects with the buffer protocol; they are pinned while a call runs, and the GIL is
released around all work. Do not change a source buffer while a call reads it. Every function that moves bytes:

- runs on the process-wide thread pool (see `set_threads`), with at most ``threads`` workers (0: all of them);
- stages unaligned bytes in the process-wide pool of huge-page buffers (see `set_staging_bytes`), and what goes to a
  device in page-locked buffers of its own, which take the same budget once more for each device;
- stops within one block on a pending signal, and then raises what the signal's handler raised
  (``KeyboardInterrupt`` for Ctrl-C);
- raises `StorageError` / `DiskFullError` for a failed system call, and `CorruptionError` for a digest that
  differs, both with path, tensor and file offset;
- leaves no work in flight when it raises.

*Stage seconds* say what the workers of a call spent their time on, by the name of a stage: ``read`` and ``write``
(system calls), ``hash``, ``copy``, ``memory`` (making a destination's pages present) and ``wait`` (for buffers). They
are thread-seconds, summed over the workers: two that hash for a second each make two.

A *chunk table* is ``36 * chunks`` bytes: for each chunk 32 bytes of digest and 4 bytes of checksum
(docs/format.md, section 1). *Spans* describe tensors in a file by parallel sequences: ``offsets[i]`` file offset and
``lengths[i]`` bytes of span i, ``first_chunks[i]`` the index in the table of its first chunk, ``names[i]`` the tensor
for messages. A span begins at a chunk boundary of its tensor and ends at one or at the tensor's end.
"""

from collections.abc import Sequence
from typing import Literal, NoReturn, final

from typing_extensions import Buffer  # collections.abc has it from 3.12 on

CHUNK_BYTES: int
LEAF_BYTES: int

@final
class Arena:
    """Page-aligned anonymous memory with huge pages, writable through the buffer protocol.

    Freed when the object and all its views are gone.
    """
    def __init__(self, size: int) -> None: ...
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class Mapping:
    """A private (copy on write) mapping of a file's first ``length`` bytes; it lives as long as its views.

    Writes through a view change private pages, never the file.
    """
    def __init__(self, *args: object, **kwargs: object) -> NoReturn: ...  # only the core makes one
    def __len__(self) -> int: ...
    def __buffer__(self, flags: int, /) -> memoryview: ...

@final
class WriteResult:
    """table: the chunk table. direct: whether O_DIRECT was used. nbytes: data bytes written."""
    def __init__(self, *args: object, **kwargs: object) -> NoReturn: ...  # only the core makes one
    @property
    def table(self) -> bytes: ...
    @property
    def direct(self) -> bool: ...
    @property
    def nbytes(self) -> int: ...
    @property
    def stage_seconds(self) -> dict[str, float]: ...

@final
class ReadResult:
    """direct_bytes, buffered_bytes: how many bytes came by O_DIRECT and through the page cache."""
    def __init__(self, *args: object, **kwargs: object) -> NoReturn: ...  # only the core makes one
    @property
    def direct_bytes(self) -> int: ...
    @property
    def buffered_bytes(self) -> int: ...
    @property
    def stage_seconds(self) -> dict[str, float]: ...

# --- budgets -------------------------------------------------------------------------------------------------------
def set_threads(count: int) -> None: ...
def get_threads() -> int: ...
def set_staging_bytes(count: int) -> None: ...
def get_staging_bytes() -> int: ...

# --- digests -------------------------------------------------------------------------------------------------------
def sha256(data: Buffer, /) -> bytes: ...
def crc32c(data: Buffer, crc: int = 0, /) -> int: ...
def chunk_count(nbytes: int, /) -> int: ...
def digest_chunks(buffers: Sequence[Buffer], *, threads: int = 0) -> bytes:
    """The chunk table of tensors in memory, each restarting its chunks."""

def kernels() -> dict[str, list[str]]:
    """``{"sha256": [...], "crc32c": [...]}``: what this CPU can run, best first. The first is in use.

    MCKPT_SHA256 and MCKPT_CRC32C name another one, for tests.
    """

# --- memory --------------------------------------------------------------------------------------------------------
def copy_buffers(dest: Buffer, offsets: Sequence[int], sources: Sequence[Buffer], *, threads: int = 0) -> None:
    """Copy each source to ``dest[offsets[i]:]`` in parallel, with streaming stores."""

def copy_each(dests: Sequence[Buffer], sources: Sequence[Buffer], *, threads: int = 0) -> None:
    """Copy each source to the destination of the same index, which has its size, in parallel.

    `CorruptionError` where memory is mapped from a file that has shrunk; the destinations are then undefined.
    """

def copy_to_cuda(
    addresses: Sequence[int], sources: Sequence[Buffer], *, device: int, stream: int, threads: int = 0
) -> None:
    """Copy each source to an address in the memory of a CUDA device, through page-locked buffers.

    ``device`` counts the devices that CUDA sees. Copies begin after what was enqueued on ``stream`` (a ``CUstream``;
    0 is the device's default stream) before the call, and none is in flight when it returns or raises. `DeviceError`
    where the device or its driver fails, and where there is none.
    """

# --- files ---------------------------------------------------------------------------------------------------------
def write_segments(
    fd: int,
    path: str,
    segments: Sequence[Buffer],
    names: Sequence[str],
    *,
    data_offset: int,
    io: Literal["auto", "direct", "buffered"] = "auto",
    threads: int = 0,
) -> WriteResult:
    """Write segments back to back from ``data_offset`` on, hashing each chunk in the same pass.

    Preallocates the whole file first, so that a full disk is found before any byte is written. Does not sync.
    ``auto`` writes with O_DIRECT where the file system takes it, and through the page cache elsewhere.
    """

def read_spans(
    fd: int,
    path: str,
    offsets: Sequence[int],
    lengths: Sequence[int],
    dests: Sequence[Buffer] | None,
    names: Sequence[str],
    *,
    table: bytes | None = None,
    first_chunks: Sequence[int] | None = None,
    check: Literal["sha256", "crc32c", "none"] = "sha256",
    io: Literal["auto", "direct", "buffered"] = "auto",
    threads: int = 0,
) -> ReadResult:
    """Read spans into ``dests`` (None: only check them), verifying each chunk in the same pass.

    ``auto`` takes what is in the page cache from there and reads the rest with O_DIRECT, block by block; over a network
    or from a file system in user space, a long read tries both ways on its first blocks and goes on with the faster.
    MCKPT_IO replaces ``auto``. With ``check="none"`` spans need no table and may begin anywhere. After an exception the
    contents of ``dests`` are undefined: do not return them.
    """

def read_spans_to_cuda(
    fd: int,
    path: str,
    offsets: Sequence[int],
    lengths: Sequence[int],
    addresses: Sequence[int],
    names: Sequence[str],
    *,
    device: int,
    stream: int,
    table: bytes | None = None,
    first_chunks: Sequence[int] | None = None,
    check: Literal["sha256", "crc32c", "none"] = "sha256",
    io: Literal["auto", "direct", "buffered"] = "auto",
    threads: int = 0,
) -> ReadResult:
    """As `read_spans`, to ``addresses`` in the memory of a CUDA device; ``device`` and ``stream`` as in `copy_to_cuda`.

    Bytes are verified in page-locked buffers, and copied from there.
    """

def map_file(fd: int, path: str, length: int) -> Mapping: ...
def verify_mapping(
    mapping: Mapping,
    path: str,
    offsets: Sequence[int],
    lengths: Sequence[int],
    names: Sequence[str],
    *,
    table: bytes,
    first_chunks: Sequence[int],
    check: Literal["sha256", "crc32c"] = "sha256",
    threads: int = 0,
) -> dict[str, float]:
    """Check spans of a mapping in place. Returns the stage seconds."""

def drop_cache(fd: int, path: str) -> None:
    """Ask the kernel to forget the file's clean pages (posix_fadvise DONTNEED)."""

# --- names ---------------------------------------------------------------------------------------------------------
def sync_file(fd: int, path: str) -> None:
    """fsync. A failure is final for the file: never call it again, write a new file."""

def open_directory(path: str, readable: bool = False) -> int:
    """A descriptor of a directory; raises OSError, with ELOOP if any component of the path is a link.

    Without ``readable`` it is good for the calls that take a ``dir_fd``, and takes no permission to read.
    """

def sync_directory(path: str) -> None:
    """fsync of its names. No component of the path may be a link."""

def rename_noreplace(source: str, target: str) -> bool:
    """Rename; raise FileExistsError if the target exists. False where the file system cannot promise atomicity.

    No directory on the way to either may be a link.
    """
