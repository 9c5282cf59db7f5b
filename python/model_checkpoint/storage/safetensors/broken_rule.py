"""How the parts of the header's validator report to it; it adds the file and raises what users see."""

from __future__ import annotations

__all__ = ["BrokenRule"]


class BrokenRule(Exception):  # noqa: N818 - not an error that anybody outside the package sees
    """A rule of docs/format.md, 2.6, does not hold.

    Attributes:
        rule: Its name in the table there.
        message: What is wrong.
        tensor: The tensor that breaks it, if one does.
    """

    def __init__(self, rule: str, message: str, tensor: str | None = None) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.tensor = tensor
