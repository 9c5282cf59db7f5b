"""How a state becomes files, for those who want other files than ours.

    from model_checkpoint.storage.base_backend import BaseStorageBackend, register_backend

    @register_backend("mine")
    class MyBackend(BaseStorageBackend):
        extension = ".mine"

        def save(self, data, path):
            with open(path, "wb") as file:
                file.write(encode(data))

        def load(self, path):
            with open(path, "rb") as file:
                return decode(file.read())

A manager with this backend calls ``save`` once for a checkpoint, with the whole state, and ``load`` once the file's
digest has been checked. The paths that it gives end in the file's name; those before it (``/proc/self/fd/7``, say) are
of a directory that nobody can exchange meanwhile, and mean nothing to other processes.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import Any, ClassVar, TypeVar

from model_checkpoint.errors import ConfigurationError, StateError

__all__ = ["BaseStorageBackend", "is_backend_name", "register_backend", "registered_backend"]

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}", re.ASCII)
_EXTENSION = re.compile(r"\.[A-Za-z0-9][A-Za-z0-9._-]{0,31}|", re.ASCII)


class BaseStorageBackend(ABC):
    """Writes a state to one file, and reads it back.

    Attributes:
        extension: The end of the file's name, dot included, or nothing.
    """

    extension: ClassVar[str] = ""

    @abstractmethod
    def save(self, data: Any, path: str) -> object:
        """Write a state to a file that does not exist yet. The caller syncs and digests it."""

    def load(self, path: str) -> Any:
        """Read a state from a file that `save` wrote. It must run no code from the file.

        Raises:
            StateError: This backend only saves.
        """
        raise StateError(f"the backend {type(self).__name__} has no load(): it cannot read {path}")


_registry: dict[str, type[BaseStorageBackend]] = {}
_Backend = TypeVar("_Backend", bound=type[BaseStorageBackend])


def register_backend(name: str) -> Callable[[_Backend], _Backend]:
    """A class decorator that makes a backend known by a name; manifests hold the name, so never change it.

    Raises:
        ConfigurationError: The name is taken or not lower case letters, digits and ``._-``; or the class is no backend.
    """
    if not is_backend_name(name):
        raise ConfigurationError(f"{ascii(name)[:80]} is not a backend's name: use lower case letters, digits and ._-")

    def register(backend: _Backend) -> _Backend:
        candidate: object = backend
        if not (isinstance(candidate, type) and issubclass(candidate, BaseStorageBackend)):
            raise ConfigurationError(f"{backend!r} is not a subclass of BaseStorageBackend")
        if not _EXTENSION.fullmatch(backend.extension):
            raise ConfigurationError(f"{ascii(backend.extension)[:80]} is not an extension such as '.pt'")
        if _registry.setdefault(name, backend) is not backend:
            raise ConfigurationError(f"there is a backend {name!r} already: {_registry[name].__qualname__}")
        return backend

    return register


def is_backend_name(name: object) -> bool:
    """Whether a backend may have this name."""
    return isinstance(name, str) and _NAME.fullmatch(name) is not None


def registered_backend(name: str) -> type[BaseStorageBackend]:
    """The class behind a name; `backends.get_backend` also knows the built-in ones.

    Raises:
        ConfigurationError: Nobody has registered it.
    """
    try:
        return _registry[name]
    except KeyError:
        known = ", ".join(sorted(_registry))
        raise ConfigurationError(f"unknown storage backend {ascii(name)[:80]}; there is {known}") from None
