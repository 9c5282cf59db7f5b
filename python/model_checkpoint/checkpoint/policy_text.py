"""Policies as text: names of makers, arguments that are literals, and ``|`` between them; nothing of Python runs."""

from __future__ import annotations

import ast
from collections.abc import Callable, Iterator, Mapping
from typing import Any, TypeVar

from model_checkpoint.errors import ConfigurationError

__all__ = ["parse_policies"]

Policy = TypeVar("Policy")


def parse_policies(text: str, makers: Mapping[str, Callable[..., Policy]], *, example: str) -> list[Policy]:
    """Read policies that are united by ``|``.

    Args:
        text: What to read.
        makers: What may stand there, by name.
        example: A policy, for the message.

    Raises:
        ConfigurationError: The text is something else.
    """
    try:
        return list(_policies(ast.parse(text.strip(), mode="eval").body, makers))
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise ConfigurationError(f"{text!r} is not a policy such as {example!r}: {error}") from None


def _policies(node: ast.expr, makers: Mapping[str, Callable[..., Policy]]) -> Iterator[Policy]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitOr):
        yield from _policies(node.left, makers)
        yield from _policies(node.right, makers)
    elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in makers:
        keywords = {str(word.arg): _value(word.value, str(word.arg)) for word in node.keywords}
        yield makers[node.func.id](*map(_value, node.args), **keywords)
    else:
        raise ConfigurationError(f"unknown policy {ast.unparse(node)!r}; there is {', '.join(makers)}")


def _value(node: ast.expr, name: str = "") -> Any:
    """An argument: a literal, a goal, or, for ``by=``, a selector."""
    if not isinstance(node, ast.Call):
        return ast.literal_eval(node)
    from model_checkpoint.analytics.selector_text import goal_of, selector_of

    return selector_of(node) if name == "by" else goal_of(node)
