"""Checkpoints that survive power cuts, prove their own bytes, and do not make training wait.

Names are loaded when they are first used (PEP 562): importing the package imports neither torch nor numpy nor a
database.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from model_checkpoint.analytics.best_model_selector import BestModelSelector
    from model_checkpoint.analytics.collector import MetricsCollector
    from model_checkpoint.analytics.criteria import Goal
    from model_checkpoint.analytics.early_stopping import EarlyStopping, Evaluation
    from model_checkpoint.analytics.reader import MetricsReader
    from model_checkpoint.checkpoint.cache import CheckpointCache
    from model_checkpoint.checkpoint.handle import SaveHandle
    from model_checkpoint.checkpoint.keep import Keep
    from model_checkpoint.checkpoint.manager import CheckpointManager, EnhancedCheckpointManager
    from model_checkpoint.checkpoint.reindex import reindex
    from model_checkpoint.checkpoint.resume import ResumeReport
    from model_checkpoint.checkpoint.retention import RetentionPlan
    from model_checkpoint.checkpoint.save_when import SaveWhen
    from model_checkpoint.checkpoint.scrub import scrub
    from model_checkpoint.checkpoint.scrub_report import ScrubDamage, ScrubReport
    from model_checkpoint.errors import (
        CatalogBusyError,
        CatalogConflictError,
        CatalogDamagedError,
        CatalogError,
        CheckpointError,
        CheckpointExistsError,
        CheckpointInUseError,
        CheckpointNotFoundError,
        ConfigurationError,
        CorruptionError,
        DamageWarning,
        DeviceError,
        DiskFullError,
        DurabilityWarning,
        FormatError,
        IntegrityError,
        MetricNotFoundError,
        MissingDependencyError,
        QueryError,
        RetentionError,
        SaveError,
        SaveSkippedError,
        StateError,
        StateMismatchError,
        StorageError,
        UnsupportedStateError,
        UnsupportedVersionError,
        UnverifiableError,
        UnverifiedWarning,
    )
    from model_checkpoint.monitoring.monitor import PerformanceMonitor
    from model_checkpoint.monitoring.report import PerformanceReport
    from model_checkpoint.storage.backends import get_backend
    from model_checkpoint.storage.base_backend import BaseStorageBackend, register_backend
    from model_checkpoint.storage.checkpoint_dir import inspect, load, save, verify
    from model_checkpoint.storage.diff import diff
    from model_checkpoint.storage.safetensors.reader import load_file, open_file
    from model_checkpoint.storage.safetensors.writer import save_file
    from model_checkpoint.types import (
        CheckpointInfo,
        CheckpointState,
        ExperimentInfo,
        FileInfo,
        Receipt,
        TensorInfo,
    )
    from model_checkpoint.utils.checksum import ChecksumCalculator

__all__ = [
    "BaseStorageBackend",
    "BestModelSelector",
    "CatalogBusyError",
    "CatalogConflictError",
    "CatalogDamagedError",
    "CatalogError",
    "CheckpointCache",
    "CheckpointError",
    "CheckpointExistsError",
    "CheckpointInUseError",
    "CheckpointInfo",
    "CheckpointManager",
    "CheckpointNotFoundError",
    "CheckpointState",
    "ChecksumCalculator",
    "ConfigurationError",
    "CorruptionError",
    "DamageWarning",
    "DeviceError",
    "DiskFullError",
    "DurabilityWarning",
    "EarlyStopping",
    "EnhancedCheckpointManager",
    "Evaluation",
    "ExperimentInfo",
    "FileInfo",
    "FormatError",
    "Goal",
    "IntegrityError",
    "Keep",
    "MetricNotFoundError",
    "MetricsCollector",
    "MetricsReader",
    "MissingDependencyError",
    "PerformanceMonitor",
    "PerformanceReport",
    "QueryError",
    "Receipt",
    "ResumeReport",
    "RetentionError",
    "RetentionPlan",
    "SaveError",
    "SaveHandle",
    "SaveSkippedError",
    "SaveWhen",
    "ScrubDamage",
    "ScrubReport",
    "StateError",
    "StateMismatchError",
    "StorageError",
    "TensorInfo",
    "UnsupportedStateError",
    "UnsupportedVersionError",
    "UnverifiableError",
    "UnverifiedWarning",
    "__version__",
    "diff",
    "get_backend",
    "inspect",
    "load",
    "load_file",
    "open_file",
    "register_backend",
    "reindex",
    "save",
    "save_file",
    "scrub",
    "verify",
]

_ERRORS = "model_checkpoint.errors"
_HOMES = {
    "BaseStorageBackend": "model_checkpoint.storage.base_backend",
    "BestModelSelector": "model_checkpoint.analytics.best_model_selector",
    "CheckpointCache": "model_checkpoint.checkpoint.cache",
    "CheckpointInfo": "model_checkpoint.types",
    "CheckpointManager": "model_checkpoint.checkpoint.manager",
    "CheckpointState": "model_checkpoint.types",
    "ChecksumCalculator": "model_checkpoint.utils.checksum",
    "EarlyStopping": "model_checkpoint.analytics.early_stopping",
    "EnhancedCheckpointManager": "model_checkpoint.checkpoint.manager",
    "Evaluation": "model_checkpoint.analytics.early_stopping",
    "ExperimentInfo": "model_checkpoint.types",
    "FileInfo": "model_checkpoint.types",
    "Goal": "model_checkpoint.analytics.criteria",
    "Keep": "model_checkpoint.checkpoint.keep",
    "MetricsCollector": "model_checkpoint.analytics.collector",
    "MetricsReader": "model_checkpoint.analytics.reader",
    "PerformanceMonitor": "model_checkpoint.monitoring.monitor",
    "PerformanceReport": "model_checkpoint.monitoring.report",
    "Receipt": "model_checkpoint.types",
    "ResumeReport": "model_checkpoint.checkpoint.resume",
    "RetentionPlan": "model_checkpoint.checkpoint.retention",
    "SaveHandle": "model_checkpoint.checkpoint.handle",
    "SaveWhen": "model_checkpoint.checkpoint.save_when",
    "ScrubDamage": "model_checkpoint.checkpoint.scrub_report",
    "ScrubReport": "model_checkpoint.checkpoint.scrub_report",
    "TensorInfo": "model_checkpoint.types",
    "diff": "model_checkpoint.storage.diff",
    "get_backend": "model_checkpoint.storage.backends",
    "inspect": "model_checkpoint.storage.checkpoint_dir",
    "load": "model_checkpoint.storage.checkpoint_dir",
    "load_file": "model_checkpoint.storage.safetensors.reader",
    "open_file": "model_checkpoint.storage.safetensors.reader",
    "register_backend": "model_checkpoint.storage.base_backend",
    "reindex": "model_checkpoint.checkpoint.reindex",
    "save": "model_checkpoint.storage.checkpoint_dir",
    "save_file": "model_checkpoint.storage.safetensors.writer",
    "scrub": "model_checkpoint.checkpoint.scrub",
    "verify": "model_checkpoint.storage.checkpoint_dir",
}


def __getattr__(name: str) -> object:
    if name == "__version__":
        value: object = importlib.import_module("importlib.metadata").version("model-checkpoint-engine")
    elif name in __all__:
        value = getattr(importlib.import_module(_HOMES.get(name, _ERRORS)), name)
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value  # the next look-up finds it without asking
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
