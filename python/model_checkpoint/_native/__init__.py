"""The only importer of the compiled core. Its manual is ``_core.pyi``."""

from __future__ import annotations

import sys
import sysconfig

try:
    from model_checkpoint._native._core import (
        CHUNK_BYTES,
        LEAF_BYTES,
        Arena,
        Mapping,
        ReadResult,
        WriteResult,
        chunk_count,
        copy_buffers,
        copy_each,
        copy_to_cuda,
        crc32c,
        digest_chunks,
        drop_cache,
        get_staging_bytes,
        get_threads,
        kernels,
        map_file,
        open_directory,
        read_spans,
        read_spans_to_cuda,
        rename_noreplace,
        set_staging_bytes,
        set_threads,
        sha256,
        sync_directory,
        sync_file,
        verify_mapping,
        write_segments,
    )
except ImportError as error:
    raise ImportError(
        f"the compiled core of model-checkpoint-engine cannot be imported: {error}. It was built for another "
        f"interpreter or platform, or not at all: this is {sys.implementation.name} "
        f"{sys.version.split()[0]} on {sysconfig.get_platform()}, which needs "
        f"model_checkpoint/_native/_core{sysconfig.get_config_var('EXT_SUFFIX')}. Install the package with pip; "
        "a source tree on sys.path is not enough.",
        name="model_checkpoint._native._core",
    ) from error

__all__ = [
    "CHUNK_BYTES",
    "LEAF_BYTES",
    "Arena",
    "Mapping",
    "ReadResult",
    "WriteResult",
    "chunk_count",
    "copy_buffers",
    "copy_each",
    "copy_to_cuda",
    "crc32c",
    "digest_chunks",
    "drop_cache",
    "get_staging_bytes",
    "get_threads",
    "kernels",
    "map_file",
    "open_directory",
    "read_spans",
    "read_spans_to_cuda",
    "rename_noreplace",
    "set_staging_bytes",
    "set_threads",
    "sha256",
    "sync_directory",
    "sync_file",
    "verify_mapping",
    "write_segments",
]
