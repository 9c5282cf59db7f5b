"""The hash kernels, over bytes that the CPU's cache has, and chunk tables over bytes that it has not."""

from __future__ import annotations

from benchmarks.asv.arrays import MIB, THREADS, arrays_of
from model_checkpoint import _native

SHA256 = ("avx512", "shani", "arm", "portable")
CRC32C = ("avx512", "sse42", "arm", "portable")


class DigestChunks:
    """The chunk table of 64 MiB in memory, by the kernels that this machine prefers: the hashing ceiling."""

    param_names = ("threads",)
    params = (THREADS,)

    def setup(self, threads: int) -> None:
        _native.set_threads(threads)
        self.arrays = [array.data for array in arrays_of(64).values()]
        self.time_digest_chunks(threads)

    def time_digest_chunks(self, _threads: int) -> None:
        _native.digest_chunks(self.arrays)


def with_kernel(algorithm: str, kernel: str, statement: str, nbytes: int) -> tuple[str, str]:
    """Code for a process of its own: kernels are chosen by the environment, once, when the core is loaded.

    Returns:
        What is timed, and what comes before it.
    """
    if kernel not in _native.kernels()[algorithm]:
        raise NotImplementedError(f"this CPU cannot run {kernel}")
    choose = f"import os; os.environ['MCKPT_{algorithm.upper()}'] = '{kernel}'"
    load = "from model_checkpoint import _native"
    return statement, f"{choose}; {load}; data = bytes(range(256)) * ({nbytes} // 256); {statement}"


class Sha256Kernel:
    """The digest of one chunk on one thread: leaves in lanes, and the node above them."""

    param_names = ("kernel", "KiB")
    params = (SHA256, (64, 1024))
    number = 32
    repeat = 5
    warmup_time = 0

    def setup(self, kernel: str, kib: int) -> None:
        with_kernel("sha256", kernel, "", kib << 10)

    def timeraw_digest_chunks(self, kernel: str, kib: int) -> tuple[str, str]:
        return with_kernel("sha256", kernel, "_native.digest_chunks([data], threads=1)", kib << 10)


class Crc32cKernel:
    """The checksum of 1 MiB on one thread."""

    param_names = ("kernel",)
    params = (CRC32C,)
    number = 64
    repeat = 5
    warmup_time = 0

    def setup(self, kernel: str) -> None:
        with_kernel("crc32c", kernel, "", MIB)

    def timeraw_crc32c(self, kernel: str) -> tuple[str, str]:
        return with_kernel("crc32c", kernel, "_native.crc32c(data)", MIB)
