"""Selectors as text: what ``experiment.json`` holds, and what a retention policy or a command line takes.

    by('val_loss', 'min', where=['latency_ms < 50'])
    lexicographic(Goal('val_loss', tolerance=0.01), Goal('latency_ms'))
    weighted(Goal('val_loss', weight=0.7), Goal('accuracy', 'max', weight=0.3), scale='rank')
    pareto(Goal('val_loss'), Goal('latency_ms'))

It is what makes the selector in Python, and nothing else of Python: names of makers, and literals.
"""

from __future__ import annotations

import ast
from collections.abc import Callable
from typing import Any

from model_checkpoint.analytics.best_model_selector import BestModelSelector
from model_checkpoint.analytics.criteria import Goal
from model_checkpoint.errors import ConfigurationError

__all__ = ["goal_of", "parse_selector", "selector_of"]

_MAKERS: dict[str, Callable[..., BestModelSelector]] = {
    "by": BestModelSelector.by,
    "weighted": BestModelSelector.weighted,
    "lexicographic": BestModelSelector.lexicographic,
    "pareto": BestModelSelector.pareto,
}


def parse_selector(text: str) -> BestModelSelector:
    """Read what ``str`` gives of a selector.

    Raises:
        ConfigurationError: The text is none; that of a criterion of the user's own is none.
    """
    try:
        return selector_of(ast.parse(text.strip(), mode="eval").body)
    except (SyntaxError, ValueError, TypeError, RecursionError, MemoryError) as error:
        raise ConfigurationError(f"{text!r} does not say which is the best: {error}") from None


def selector_of(node: ast.expr) -> BestModelSelector:
    """The selector that a parsed expression stands for.

    Raises:
        ConfigurationError: It is something else.
    """
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in _MAKERS:
        keywords: dict[str, Any] = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
        return _MAKERS[node.func.id](*map(_argument, node.args), **keywords)
    raise ConfigurationError(f"{ast.unparse(node)!r} is no selector; there is {', '.join(_MAKERS)}")


def goal_of(node: ast.expr) -> Goal:
    """The goal that a parsed expression stands for: ``Goal('accuracy', 'max')``.

    Raises:
        ConfigurationError: It is something else.
    """
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Goal":
        keywords: dict[str, Any] = {str(word.arg): ast.literal_eval(word.value) for word in node.keywords}
        return Goal(*map(ast.literal_eval, node.args), **keywords)
    raise ConfigurationError(f"{ast.unparse(node)!r} is no Goal('metric', 'min')")


def _argument(node: ast.expr) -> Any:
    return goal_of(node) if isinstance(node, ast.Call) else ast.literal_eval(node)
