"""Loading a checkpoint into what is there already: modules, optimizers, containers and tensors, in place.

First everything is compared, then everything is read and verified, and only then does the first value change.
"""

from __future__ import annotations

import functools
import itertools
import sys
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeAlias

from model_checkpoint.errors import ConfigurationError, CorruptionError, StateError, StateMismatchError
from model_checkpoint.monitoring.span import span
from model_checkpoint.storage.contents import Contents
from model_checkpoint.storage.leaves import LeafRef, is_leaf, stored_leaf
from model_checkpoint.storage.safetensors.plain_file import Check
from model_checkpoint.storage.safetensors.tensors import adapter_named, framework_of
from model_checkpoint.storage.state_tree import children, references, unflatten
from model_checkpoint.utils.strict_json import JsonValue

__all__ = ["LoadReport", "load_into"]

Put: TypeAlias = Callable[[Any], object]

_CONTAINERS = (dict, OrderedDict, list, tuple)
_REFUSALS = (AttributeError, IndexError, KeyError, RuntimeError, TypeError, ValueError)


@dataclass(frozen=True, slots=True)
class LoadReport:
    """What a load into existing objects did.

    Attributes:
        tensors: How many tensors were loaded.
        nbytes: Their size in bytes.
        missing: Paths that the target has and the checkpoint lacks; they are as they were.
        unexpected: Paths that the checkpoint has and the target lacks.
        mismatched: Paths that both have, and how they differ; they are as they were.
        skipped: Top level entries of the checkpoint that were not asked for.
    """

    tensors: int
    nbytes: int
    missing: tuple[str, ...] = ()
    unexpected: tuple[str, ...] = ()
    mismatched: tuple[str, ...] = ()
    skipped: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether the target has everything that it asked for."""
        return not (self.missing or self.unexpected or self.mismatched)

    def raise_if_incomplete(self) -> None:
        """Raises:
        StateMismatchError: The report is not complete.
        """
        if self.is_complete:
            return
        parts = (("missing", self.missing), ("unexpected", self.unexpected), ("mismatched", self.mismatched))
        text = "; ".join(f"{name}: {', '.join(paths[:3])}{' …' * (len(paths) > 3)}" for name, paths in parts if paths)
        raise StateMismatchError(
            f"checkpoint and target do not fit, nothing was changed: {text}",
            missing=self.missing,
            unexpected=self.unexpected,
            mismatched=self.mismatched,
        )


def load_into(
    contents: Contents, target: Any, check: Check, *, device: Any = "cpu", mmap: bool = False, strict: bool = True
) -> LoadReport:
    """Load a checkpoint into existing objects.

    Args:
        contents: The checkpoint.
        target: A tensor, a module or anything else with ``load_state_dict``, or containers of such things and plain
            values. Of a dict at the top, only its keys are loaded.
        check: How to check.
        device: Where tensors go that replace nothing: those in optimizer states, say.
        mmap: Whether these may be views of the files.
        strict: Whether to refuse the load unless everything fits.

    Raises:
        StateMismatchError: With ``strict``: something does not fit; nothing was changed.
        IntegrityError: Something is damaged; nothing was changed, unless somebody truncated a file while it was copied.
        StorageError: A file could not be read, and nothing was changed; or all was, but whether somebody truncated a
            file meanwhile cannot be told.
        ConfigurationError: Nothing can be loaded into the target.
        StateError: An object refused its state; what comes before it in the target has changed.
    """
    plan = _Plan(contents)
    try:
        plan.top(target, contents.manifest.state)
        report = plan.report()
        if strict:
            report.raise_if_incomplete()
        # Tensors whose bytes are copied come from checked mappings, so that the copy is the only memory that is needed.
        # The core alone touches these: it survives a file that shrinks meanwhile.
        copied = contents.leaves(plan.streamed, check, mmap=True) | contents.leaves(plan.copied, check)
        kept = contents.leaves(plan.kept, check, device=device, mmap=mmap)
        try:
            with span("restore"):
                for action in plan.actions:
                    action.run(copied if action.copies else kept)
        except CorruptionError:
            contents.check_lengths()  # its error names the file
            raise
        contents.check_lengths()
        return report
    finally:
        plan.actions.clear()  # they refer to the plan: the cycle would keep the checkpoint in use


@dataclass(frozen=True, slots=True)
class _Action:
    """One change of the target.

    Attributes:
        run: Makes it, given the leaves by reference.
        copies: Whether it copies the leaves, rather than keep them.
    """

    run: Callable[[Mapping[LeafRef, Any]], object]
    copies: bool


@dataclass(slots=True)
class _Plan:
    """What is going to be done, and what does not fit."""

    contents: Contents
    actions: list[_Action] = field(default_factory=list)
    streamed: dict[LeafRef, None] = field(default_factory=dict)
    copied: dict[LeafRef, None] = field(default_factory=dict)
    kept: dict[LeafRef, None] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    mismatched: list[str] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)

    def report(self) -> LoadReport:
        refs = list(dict.fromkeys([*self.streamed, *self.copied, *self.kept]))
        plains = [(self.contents.holder(ref.component, ref.name), ref) for ref in refs]
        stored = {(plain.path, plain.header.stored_name(ref.name)): plain for plain, ref in plains}
        nbytes = sum(plain.header.entries[name].nbytes for (_, name), plain in stored.items())
        paths = (tuple(paths) for paths in (self.missing, self.unexpected, self.mismatched, self.skipped))
        return LoadReport(len(refs), nbytes, *paths)

    def top(self, target: Any, node: JsonValue) -> None:
        if not _can_change(target):
            raise ConfigurationError(f"nothing can be loaded into a {type(target).__name__}")
        saved = children(node)
        if type(target) not in (dict, OrderedDict) or saved is None:
            self.match("state", target, node, None)
            return
        nodes = dict(saved)
        self.skipped.extend(str(key) for key in nodes if key not in target)
        self._entries("", target, nodes)

    def match(self, path: str, target: Any, node: JsonValue, put: Put | None) -> None:
        """Plan the load of one value; ``put`` replaces it where it stands, if that can be done."""
        if is_leaf(target):
            self._tensor(path, target, node)
        elif _is_stateful(target):
            self._stateful(path, target, node)
        elif type(target) in _CONTAINERS and not _is_plain(target):
            self._container(path, target, node)
        else:
            self._value(path, target, node, put)

    def _container(self, path: str, target: Any, node: JsonValue) -> None:
        saved = children(node)
        is_mapping = isinstance(target, dict)
        if saved is None or is_mapping != _is_mapping(node):
            self.mismatched.append(f"{path}: {_kind(node)} for a {type(target).__name__}")
        elif is_mapping:
            nodes = dict(saved)
            self.unexpected.extend(_joined(path, key) for key in nodes if key not in target)
            self._entries(path, target, nodes)
        elif len(saved) != len(target):
            self.mismatched.append(f"{path}: {len(saved)} elements for {len(target)}")
        else:
            for index, value in enumerate(target):
                put = functools.partial(target.__setitem__, index) if isinstance(target, list) else None
                self.match(f"{path}[{index}]", value, saved[index][1], put)

    def _entries(self, path: str, target: Any, nodes: Mapping[Any, JsonValue]) -> None:
        for key, value in target.items():
            if key in nodes:
                self.match(_joined(path, key), value, nodes[key], functools.partial(target.__setitem__, key))
            else:
                self.missing.append(_joined(path, key))

    def _tensor(self, path: str, target: Any, node: JsonValue) -> None:
        fault = self._fault(target, node)
        if fault is not None:
            self.mismatched.append(f"{path}: {fault}")
            return
        adapter = adapter_named(framework_of(path, target))
        self._copy(self._references(node), target)
        self.actions.append(_Action(lambda leaves: adapter.copy_in(target, self._built(node, leaves)), copies=True))

    def _fault(self, target: Any, node: JsonValue) -> str | None:
        """Why a tensor cannot take a saved value; None if it can."""
        ref = _reference(node)
        if ref is None:
            return f"{_kind(node)} for a tensor"
        try:
            stored = stored_leaf(target)
        except ValueError as error:
            return str(error)
        adapter = adapter_named(framework_of(ref.name, target))
        info = self.contents.holder(ref.component, ref.name).header.info(ref.name)
        spec = adapter.describe(ref.name, stored.value)
        here = (stored.kind, stored.options.get("dtype", spec.dtype), spec.shape)
        saved = (ref.kind, ref.dtype or info.dtype, info.shape)
        if here != saved:
            return "saved as {} {} {}, not {} {} {}".format(*saved, *here)
        return None if adapter.is_writable(target) else "cannot be written to"

    def _stateful(self, path: str, target: Any, node: JsonValue) -> None:
        if _is_module(target):
            saved = children(node)
            fault = f"{_kind(node)} for a module" if saved is None else None
            if saved is not None:
                self._module(path, target, node, dict(saved))
        elif (fault := _group_fault(target, node)) is None:
            refs = self._references(node)
            self._give(refs, lambda leaves: _load_state(path, target, self._built(node, leaves)))
        if fault is not None:
            self.mismatched.append(f"{path}: {fault}")

    def _module(self, path: str, module: Any, node: JsonValue, saved: Mapping[str, JsonValue]) -> None:
        """Plan a module's load: what does not fit is left out, and reported."""
        own = _own_state(module)
        wrong: set[str] = set()
        for name, value in own.items():
            if name not in saved:
                self.missing.append(_joined(path, name))
            elif (fault := self._fault(value, saved[name]) if is_leaf(value) else None) is not None:
                self.mismatched.append(f"{_joined(path, name)}: {fault}")
                wrong.add(name)
        self.unexpected.extend(_joined(path, name) for name in saved if name not in own)
        for name in [name for name in saved if name in own and name not in wrong]:
            self._copy(self._references(saved[name]), own[name] if _is_tensor(own[name]) else None)

        def run(leaves: Mapping[LeafRef, Any]) -> None:
            state = self._built(node, leaves)
            for name in [name for name in state if name not in own or name in wrong]:
                del state[name]
            _stream(own, state)
            _load_state(path, module, state, strict=False)

        self.actions.append(_Action(run, copies=True))

    def _value(self, path: str, target: Any, node: JsonValue, put: Put | None) -> None:
        """Plan to replace a plain value, or the contents of a plain container."""
        if type(target) in (dict, OrderedDict, list):
            put = functools.partial(_refill, target)
            fits = children(node) is not None and _is_mapping(node) == isinstance(target, dict)
        else:
            fits = target is None or (children(node) is None) == (type(target) not in _CONTAINERS)
            fits = fits and (target is None or _reference(node) is None)
        if not fits or put is None:
            self.mismatched.append(f"{path}: {_kind(node)} for a {type(target).__name__}")
            return
        replace = put
        self._give(self._references(node), lambda leaves: replace(self._built(node, leaves)))

    def _copy(self, refs: Iterable[LeafRef], target: Any) -> None:
        """Plan to read what is copied to a target."""
        takes_bytes = is_leaf(target) and adapter_named(framework_of("", target)).takes_bytes(target)
        for ref in refs:
            (self.streamed if takes_bytes and not self._is_view(ref) else self.copied)[ref] = None

    def _is_view(self, ref: LeafRef) -> bool:
        alias = self.contents.holder(ref.component, ref.name).header.aliases.get(ref.name)
        return alias is not None and alias.view is not None

    def _give(self, refs: Iterable[LeafRef], run: Callable[[Mapping[LeafRef, Any]], object]) -> None:
        """Plan to hand over what is read."""
        self.kept.update(dict.fromkeys(refs))
        self.actions.append(_Action(run, copies=False))

    def _references(self, node: JsonValue) -> list[LeafRef]:
        return references(node, path=self.contents.manifest_file.path)

    def _built(self, node: JsonValue, leaves: Mapping[LeafRef, Any]) -> Any:
        return unflatten(node, leaves.get, path=self.contents.manifest_file.path)


def _own_state(module: Any) -> dict[str, Any]:
    """A module's state, with the module's own tensors in it: copying these to themselves is free."""
    own = dict(module.state_dict())
    for named in (module.named_parameters, module.named_buffers):
        own.update(
            (name, tensor) for name, tensor in named(remove_duplicate=False) if _is_detached(own.get(name), tensor)
        )
    return own


def _is_detached(value: Any, tensor: Any) -> bool:
    """Whether a value is a tensor with the elements of another one, in the same memory."""
    torch = sys.modules["torch"]
    if type(value) is not torch.Tensor or type(tensor) not in (torch.Tensor, torch.nn.Parameter):
        return False
    same = value.data_ptr() == tensor.data_ptr() and value.dtype == tensor.dtype and value.shape == tensor.shape
    return bool(same and value.stride() == tensor.stride())


def _stream(own: Mapping[str, Any], state: dict[str, Any]) -> None:
    """Copy a module's values to its tensors at once, which then are the state: torch copies one by one."""
    names = [name for name, value in state.items() if is_leaf(value) and is_leaf(own[name])]
    done = adapter_named("torch").stream_in([(own[name], state[name]) for name in names])
    state.update((name, own[name]) for name in itertools.compress(names, done))


def _load_state(path: str, target: Any, state: Any, **options: bool) -> None:
    try:
        target.load_state_dict(state, **options)
    except _REFUSALS as error:
        message = f"{path}: load_state_dict() failed; what was loaded before it has changed: {error}"
        raise StateError(message) from error


def _refill(container: Any, saved: Any) -> None:
    if isinstance(container, list):
        container[:] = saved
    else:
        container.clear()
        container.update(saved)


def _reference(node: JsonValue) -> LeafRef | None:
    """The tensor that a node is, if it is one."""
    if not isinstance(node, Mapping) or not ("$tensor" in node or "$array" in node):
        return None
    return references(node, path="")[0]


def _is_stateful(value: object) -> bool:
    return not isinstance(value, type) and callable(getattr(value, "load_state_dict", None))


def _is_tensor(value: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.Tensor)


def _is_module(value: object) -> bool:
    torch = sys.modules.get("torch")
    return torch is not None and isinstance(value, torch.nn.Module)


def _can_change(value: object) -> bool:
    return is_leaf(value) or _is_stateful(value) or type(value) in _CONTAINERS


def _is_plain(container: Any) -> bool:
    """Whether a container holds nothing that could be loaded in place: then its contents are replaced as they are."""
    values = container.values() if isinstance(container, dict) else container
    return not any(
        is_leaf(value) or _is_stateful(value) or (type(value) in _CONTAINERS and not _is_plain(value))
        for value in values
    )


def _is_mapping(node: JsonValue) -> bool:
    return isinstance(node, Mapping) and "$tuple" not in node


def _kind(node: JsonValue) -> str:
    """A node in words, for messages."""
    if isinstance(node, Mapping):
        form = next((key for key in node if key[:1] == "$"), "dict")
        return form.removeprefix("$").replace("ordered", "dict")
    return "list" if isinstance(node, list) else type(node).__name__


def _joined(path: str, key: object) -> str:
    text = key if isinstance(key, str) else f"[{key!r:.40}]"
    return f"{path}.{text}" if path and isinstance(key, str) else f"{path}{text}"


def _group_fault(optimizer: Any, node: JsonValue) -> str | None:
    """Why an optimizer's parameter groups do not fit; None if they do, or if there are none."""
    state_dict = getattr(optimizer, "state_dict", None)
    own = state_dict() if callable(state_dict) else None
    groups = own.get("param_groups") if isinstance(own, Mapping) else None
    saved = dict(children(node) or ()).get("param_groups")
    if not isinstance(groups, list) or not isinstance(saved, list):
        return None
    here = [len(group["params"]) for group in groups]
    there = [len(children(dict(children(group) or ()).get("params")) or ()) for group in saved]
    return None if here == there else f"parameter groups of {there} parameters, not {here}"
