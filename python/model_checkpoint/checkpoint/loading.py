"""Reading checkpoints of a store, through a cache if there is one."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from model_checkpoint.checkpoint.cache import CheckpointCache
from model_checkpoint.checkpoint.timekeeper import Timekeeper
from model_checkpoint.errors import CheckpointNotFoundError, ConfigurationError, StateError
from model_checkpoint.events import CheckpointLoaded, CheckpointVerified, Event
from model_checkpoint.storage.backends import DEFAULT_BACKEND
from model_checkpoint.storage.checkpoint_dir import read_state, verify_contents
from model_checkpoint.storage.contents import Contents, checks
from model_checkpoint.storage.names import component_of
from model_checkpoint.storage.restore import LoadReport, load_into
from model_checkpoint.storage.store import Store
from model_checkpoint.types import CheckpointInfo, VerifyLevel

__all__ = ["Loader"]


class Loader:
    """Loads and verifies what the catalog knows.

    Args:
        store: Where checkpoints are.
        cache: Where to look first, and to leave what was read; None for nowhere.
        emit: Who hears of it.
        found_intact: Is told of each checkpoint of which a load has checked every byte.
        timekeeper: Measures how long it takes.
    """

    def __init__(
        self,
        store: Store,
        cache: CheckpointCache | None,
        *,
        emit: Callable[[Event], None],
        found_intact: Callable[[CheckpointInfo], None],
        timekeeper: Timekeeper,
    ) -> None:
        self._store = store
        self._cache = cache
        self._emit = emit
        self._found_intact = found_intact
        self._timekeeper = timekeeper

    def load(
        self,
        checkpoint: CheckpointInfo,
        *,
        device: Any = "cpu",
        mmap: bool = False,
        verify: VerifyLevel = "full",
        components: Sequence[str] | None = None,
    ) -> Any:
        """The state of a checkpoint, or some of its components.

        Only owned, whole, fully checked states are kept in the cache, so that whatever comes from it was checked.

        Raises:
            IntegrityError: Something is damaged.
            CheckpointNotFoundError: Its directory, or a component, is not there.
        """
        start = time.perf_counter()
        is_plain_load = str(device) == "cpu" and not mmap
        with self._timekeeper.use("load", checkpoint) as operation:
            state: Any = self._cache.get(checkpoint.digest) if self._cache is not None and is_plain_load else None
            cached = state is not None
            if cached:
                operation.drop()  # nothing is read, and throughputs should say how fast something was
                if components is not None:
                    state = {name: state[name] for name in _present(components, state, checkpoint)}
            else:
                contents = _part(self._store.open(checkpoint), components, checkpoint)
                operation.nbytes = _nbytes(contents, components)
                state = read_state(contents, device=device, mmap=mmap, verify=verify)
                if checks(verify) == "sha256" and components is None:
                    self._found_intact(checkpoint)
                    if is_plain_load:
                        self.remember(checkpoint, lambda: state)
            self._emit(CheckpointLoaded(checkpoint, time.perf_counter() - start, cached))
        return state

    def load_into(
        self,
        checkpoint: CheckpointInfo,
        target: Any,
        *,
        device: Any = "cpu",
        verify: VerifyLevel = "full",
        strict: bool = True,
    ) -> LoadReport:
        """Load a checkpoint into existing objects; of a dict, only its keys. Everything is verified first.

        Raises:
            StateMismatchError: With ``strict``: target and checkpoint do not fit; nothing was changed.
            StateError: An object refused its state; those before it have changed.
            IntegrityError: Something is damaged; nothing was changed.
        """
        start = time.perf_counter()
        with self._timekeeper.use("load", checkpoint) as operation:
            contents, check = self._store.open(checkpoint), checks(verify)
            if check != "none":
                contents.check_blobs()
            if checkpoint.backend == DEFAULT_BACKEND:
                report = load_into(contents, target, check, device=device, strict=strict)
                if check == "sha256" and not (report.skipped or report.unexpected or report.mismatched):
                    self._found_intact(checkpoint)
            else:
                report = _give(read_state(contents, device=device, verify=verify), target, checkpoint, strict=strict)
            operation.nbytes = report.nbytes
            self._emit(CheckpointLoaded(checkpoint, time.perf_counter() - start, cached=False))
        return report

    def verify(self, checkpoint: CheckpointInfo) -> None:
        """Read and check every byte from the file system; the cache has no say.

        Raises:
            IntegrityError: Something is damaged.
        """
        start = time.perf_counter()
        with self._timekeeper.use("verify", checkpoint):
            verify_contents(self._store.open(checkpoint))
            self._emit(CheckpointVerified(checkpoint, time.perf_counter() - start))

    def remember(self, checkpoint: CheckpointInfo, make: Callable[[], Any]) -> None:
        """Leave a copy of a checked state, which ``make`` gives, in the cache."""
        if self._cache is not None and checkpoint.nbytes <= self._cache.max_bytes:
            self._cache.put(checkpoint.digest, make(), checkpoint.nbytes)


def _part(contents: Contents, components: Sequence[str] | None, checkpoint: CheckpointInfo) -> Contents:
    """A checkpoint as if it held these components only."""
    if components is None:
        return contents
    tree = contents.manifest.state
    if checkpoint.backend != DEFAULT_BACKEND or not isinstance(tree, Mapping):
        raise ConfigurationError(f"{checkpoint.ref}, of the backend {checkpoint.backend}, is loaded as a whole")
    state = {name: tree[name] for name in _present(components, tree, checkpoint)}
    return dataclasses.replace(contents, manifest=dataclasses.replace(contents.manifest, state=state))


def _nbytes(contents: Contents, components: Sequence[str] | None) -> int:
    """The size of the files that hold some components, or all."""
    if components is None:
        return contents.manifest.nbytes
    holders = {info: component_of(info.name) for info in contents.manifest.files if info.kind == "tensors"}
    return sum(info.nbytes for info, shard in holders.items() if shard is not None and shard[0] in components)


def _present(components: Sequence[str], state: Any, checkpoint: CheckpointInfo) -> Sequence[str]:
    """Return the components, all of which the state has."""
    for name in components:
        if name not in state:
            message = f"{checkpoint.ref} has no component {name!r}"
            raise CheckpointNotFoundError(message, ref=name, candidates=[str(key) for key in state])
    return components


def _give(state: Any, target: Any, checkpoint: CheckpointInfo, *, strict: bool) -> LoadReport:
    """Give the parts of a run what another backend returned: inside a part, only the part can tell whether it fits."""
    if not isinstance(target, dict) or not isinstance(state, Mapping):
        raise ConfigurationError(
            f"{checkpoint.ref}, of the backend {checkpoint.backend}, is loaded into a dict of parts"
        )
    report = LoadReport(
        tensors=0,
        nbytes=checkpoint.nbytes,
        missing=tuple(name for name in target if name not in state),
        skipped=tuple(str(name) for name in state if name not in target),
    )
    if strict:
        report.raise_if_incomplete()
    for name, part in target.items():
        if name in state:
            _give_part(name, part, state[name])
    return report


def _give_part(name: str, part: Any, state: Any) -> None:
    try:
        if hasattr(part, "load_state_dict"):
            part.load_state_dict(state)
        elif isinstance(part, dict):
            part.clear()
            part.update(state)
        else:
            part[:] = state  # a list, a tensor or an array
    except (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError) as error:
        raise StateError(f"{name} refused its state; what was loaded before it has changed: {error}") from error
