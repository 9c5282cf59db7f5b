"""Every exception and warning that this package raises on purpose.

CheckpointError
├── IntegrityError                  bytes are not what was saved
│   ├── CorruptionError             a digest, length or checksum differs
│   ├── FormatError (ValueError)    a header or manifest breaks a rule of docs/format.md
│   │   └── UnsupportedVersionError a later format, or a feature that this version lacks
│   └── UnverifiableError           verification was demanded of a file without digests
├── StateError
│   ├── UnsupportedStateError (TypeError)  a value that cannot be stored
│   └── StateMismatchError (ValueError)    state and checkpoint do not fit together
├── StorageError (OSError)          the file system failed
│   └── DiskFullError               no space or no quota left
├── DeviceError (RuntimeError)      an accelerator failed
├── CheckpointNotFoundError (LookupError)
├── MetricNotFoundError (LookupError)
├── CheckpointExistsError (FileExistsError)
├── CheckpointInUseError            somebody reads it
├── SaveError                       a background save failed
│   └── SaveSkippedError            a save was skipped because the one before still runs
├── RetentionError                  a cleanup that would break a promise
├── CatalogError                    the catalog failed
│   ├── CatalogBusyError            locked by another process for longer than the time-out
│   ├── CatalogConflictError        two checkpoints claim the same number, path or id
│   └── CatalogDamagedError         not a readable catalog; `mckpt reindex` rebuilds it
├── QueryError                      a question to the metrics that has no answer
├── ConfigurationError (ValueError) an argument, policy or setting makes no sense
└── MissingDependencyError (ImportError)  an optional extra is not installed

UnverifiedWarning                   a file without digests was loaded
DamageWarning                       something damaged was left out, as was asked for
DurabilityWarning                   the file system grants less than a save promises
"""

from __future__ import annotations

import errno as _errno
from collections.abc import Sequence

__all__ = [
    "CatalogBusyError",
    "CatalogConflictError",
    "CatalogDamagedError",
    "CatalogError",
    "CheckpointError",
    "CheckpointExistsError",
    "CheckpointInUseError",
    "CheckpointNotFoundError",
    "ConfigurationError",
    "CorruptionError",
    "DamageWarning",
    "DeviceError",
    "DiskFullError",
    "DurabilityWarning",
    "FormatError",
    "IntegrityError",
    "MetricNotFoundError",
    "MissingDependencyError",
    "QueryError",
    "RetentionError",
    "SaveError",
    "SaveSkippedError",
    "StateError",
    "StateMismatchError",
    "StorageError",
    "UnsupportedStateError",
    "UnsupportedVersionError",
    "UnverifiableError",
    "UnverifiedWarning",
]


def _located(message: str, **where: object) -> str:
    """Append the known parts of a location to a message."""
    parts = [f"{key}={value!r}" for key, value in where.items() if value is not None]
    return f"{message} ({', '.join(parts)})" if parts else message


class CheckpointError(Exception):
    """Base of everything that this package raises on purpose."""


class IntegrityError(CheckpointError):
    """Bytes on disk are not what was saved.

    Attributes:
        path: The file.
        tensor: The tensor whose bytes or header entry are wrong, if known.
        offset: File offset in bytes of the damaged range, if known.
        rule: The rule of docs/format.md that is broken, if one is.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        tensor: str | None = None,
        offset: int | None = None,
        rule: str | None = None,
    ) -> None:
        super().__init__(_located(message, path=path, tensor=tensor, offset=offset, rule=rule))
        self.path = path
        self.tensor = tensor
        self.offset = offset
        self.rule = rule


class CorruptionError(IntegrityError):
    """A digest, checksum or length differs from the recorded one."""


class FormatError(IntegrityError, ValueError):
    """A header or manifest breaks a rule of docs/format.md."""


class UnsupportedVersionError(FormatError):
    """The file is of a later version, or requires a feature that this version lacks."""


class UnverifiableError(IntegrityError):
    """Verification was demanded of a file that carries no digests."""


class StateError(CheckpointError):
    """State and storage do not fit together."""


class UnsupportedStateError(StateError, TypeError):
    """A value in the state cannot be stored.

    Attributes:
        where: Its path in the state, for example ``optimizer.state[0].hook``.
    """

    def __init__(self, message: str, *, where: str) -> None:
        super().__init__(_located(message, where=where))
        self.where = where


class StateMismatchError(StateError, ValueError):
    """The state to load into and the checkpoint do not fit; nothing was changed.

    Attributes:
        missing: Paths that the state has and the checkpoint lacks.
        unexpected: Paths that the checkpoint has and the state lacks.
        mismatched: Paths that both have, with another type, dtype or shape, and how they differ.
    """

    def __init__(
        self,
        message: str,
        *,
        missing: Sequence[str] = (),
        unexpected: Sequence[str] = (),
        mismatched: Sequence[str] = (),
    ) -> None:
        super().__init__(message)
        self.missing = tuple(missing)
        self.unexpected = tuple(unexpected)
        self.mismatched = tuple(mismatched)


class StorageError(CheckpointError, OSError):
    """The file system refused or failed an operation.

    Attributes:
        errno: The system's error number, or None.
        path: The file or directory.
        tensor: The tensor that was being moved, if known.
        offset: File offset in bytes, if known.
    """

    def __init__(
        self,
        message: str,
        *,
        path: str | None = None,
        errno: int | None = None,
        tensor: str | None = None,
        offset: int | None = None,
    ) -> None:
        text = _located(message, path=path, tensor=tensor, offset=offset)
        if errno is None:
            super().__init__(text)
        else:
            super().__init__(errno, text)
        self.path = path
        self.tensor = tensor
        self.offset = offset

    @classmethod
    def from_os_error(
        cls,
        error: OSError,
        message: str,
        *,
        path: str | None = None,
        tensor: str | None = None,
        offset: int | None = None,
    ) -> StorageError:
        """Translate an ``OSError``; no space and no quota become `DiskFullError`."""
        kind = DiskFullError if error.errno in (_errno.ENOSPC, _errno.EDQUOT) else cls
        return kind(
            f"{message}: {error.strerror or error}",
            path=path or (str(error.filename) if error.filename else None),
            errno=error.errno,
            tensor=tensor,
            offset=offset,
        )


class DiskFullError(StorageError):
    """No space, or no quota, is left for what is being written."""


class DeviceError(CheckpointError, RuntimeError):
    """An accelerator, or its driver, failed; the text has the driver's name of the error, and the device's.

    Attributes:
        tensor: The tensor that was being moved, if known.
    """

    def __init__(self, message: str, *, tensor: str | None = None) -> None:
        super().__init__(_located(message, tensor=tensor))
        self.tensor = tensor


class CheckpointNotFoundError(CheckpointError, LookupError):
    """No checkpoint answers to a reference.

    Attributes:
        ref: The reference that was asked for.
        candidates: References that would have worked, nearest first.
    """

    def __init__(self, message: str, *, ref: str, candidates: Sequence[str] = ()) -> None:
        hint = f"; there is {', '.join(candidates)}" if candidates else ""
        super().__init__(message + hint)
        self.ref = ref
        self.candidates = tuple(candidates)


class MetricNotFoundError(CheckpointError, LookupError):
    """Nothing was logged under a name.

    Attributes:
        name: The name.
        known: Names under which something was.
    """

    def __init__(self, name: str, known: Sequence[str]) -> None:
        self.name = name
        self.known = tuple(known)
        there = f"there is {', '.join(self.known[:20])}" if known else "nothing was logged yet"
        super().__init__(f"no metric {name!r}; {there}")


class CheckpointExistsError(CheckpointError, FileExistsError):
    """The target exists; checkpoints are never replaced."""


class CheckpointInUseError(CheckpointError):
    """A checkpoint that somebody reads cannot be removed."""


class SaveError(CheckpointError):
    """A save in the background failed; the cause is chained.

    Attributes:
        step: The step that was not saved.
    """

    def __init__(self, message: str, *, step: int) -> None:
        super().__init__(message)
        self.step = step


class SaveSkippedError(SaveError):
    """A save was skipped because the one before it was still running."""


class RetentionError(CheckpointError):
    """A cleanup was refused because it would break a promise."""


class CatalogError(CheckpointError):
    """The catalog failed."""


class CatalogBusyError(CatalogError):
    """The catalog was locked by another process for longer than the time-out."""


class CatalogConflictError(CatalogError):
    """Two checkpoints claim the same number in the commit order, the same path, or the same id."""


class CatalogDamagedError(CatalogError):
    """The catalog is not readable; ``mckpt reindex`` rebuilds it from the manifests."""


class QueryError(CheckpointError):
    """A question that is malformed, would change something, or takes more time or memory than it may."""


class ConfigurationError(CheckpointError, ValueError):
    """An argument, policy or setting makes no sense."""


class MissingDependencyError(CheckpointError, ImportError):
    """An optional dependency is not installed.

    Attributes:
        extra: The extra that brings it: ``pip install 'model-checkpoint-engine[extra]'``.
    """

    def __init__(self, name: str, *, extra: str) -> None:
        super().__init__(f"{name} is not installed; pip install 'model-checkpoint-engine[{extra}]'")
        self.extra = extra


class UnverifiedWarning(UserWarning):
    """A file that carries no digests was loaded without verification."""


class DamageWarning(UserWarning):
    """Something damaged was left out of an answer, as was asked for."""


class DurabilityWarning(UserWarning):
    """The file system grants less than a save promises."""
