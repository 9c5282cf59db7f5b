"""All storage backends by name: the built-in ones, and those that users register."""

from __future__ import annotations

# Importing a backend registers it.
from model_checkpoint.storage import pytorch_backend, safetensors_backend  # noqa: F401
from model_checkpoint.storage.base_backend import BaseStorageBackend, registered_backend

__all__ = ["DEFAULT_BACKEND", "get_backend"]

DEFAULT_BACKEND = "safetensors"
"""Whose checkpoints have a file for each component, and the state tree in their manifest."""


def get_backend(name: str) -> BaseStorageBackend:
    """A backend by its name. Nothing is imported for a name: who uses a backend of their own imports it first.

    Raises:
        ConfigurationError: Nobody has registered it.
    """
    return registered_backend(name)()
