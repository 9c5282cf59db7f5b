"""Names made to deceive whoever makes a path, a line, a query or a command of them."""

from __future__ import annotations

import itertools
from collections.abc import Iterator

__all__ = ["NAMES", "fits_a_command_line"]

_TARGETS = (
    "secret.txt", "beside/secret.txt", "outside/secret.txt", "beside", "outside", "etc/passwd",
)  # fmt: skip
_UPWARDS = (
    "../", "../../", "../../../", "./../", "exp/../../", "a/../../", ".//..//", "..\\", "..\\..\\", "\\..\\../",
)  # fmt: skip
_ENCODED = (
    "%2e%2e%2f", "%2e%2e/", "..%2f", "%252e%252e%252f", "%c0%ae%c0%ae/", "..%c0%af", "%uff0e%uff0e/", "..%00/",
)  # fmt: skip
_ABSOLUTE = (
    "/", "//", "///", "file:///", "file:", "C:\\", "C:/", "C:", "\\\\host\\share\\", "\\\\?\\C:\\", "//host/share/",
)  # fmt: skip
_AFFIXES = (
    "", ".", "..", " ", "\0", "\n", "\r", "\t", "/", "\\", ":", "\x1b[2J", "\u202e", "\u200b", "\ufeff", "\x7f",
    "\x85",
)  # fmt: skip
_RESERVED = (
    "manifest.json", "MANIFEST.JSON", "Manifest.Json", "experiment.json", "trash.json", "catalog.db",
    "catalog.db-wal", "catalog.db-journal", "CATALOG.DB", "catalog.db.damaged-1", ".trash", ".staging",
    ".annotations", ".metrics", ".lock", ".scrub.json", ".mckpt-0123456789abcdef.tmp", "step-00000001-0123abcd",
    "step-00000000-00000000", "model-00001-of-00002", "model-00001-of-00002.safetensors",
    "model.safetensors.index.json", "rng", "latest", "best", "best@", "best@loss", "latest:latest", "exp:0", "exp:",
    ":", ":0", "0", "-1", "00", "1e3", "0x10", "9" * 40, "con", "CON", "nul.txt", "prn", "aux.safetensors", "com1",
    "lpt9.json", "CONIN$", "$MFT", "desktop.ini", ".DS_Store", ".git", ".git/config", ".", "..", "...", "....", "~",
    "~root", "~/secret.txt", "~+", "-", "--", "-rf", "-C", "--root", "--root=/etc", "--json", "--help", "-y", "--yes",
    "--force", "@file", "*", "?", "[a-z]", "**/*", "{a,b}", "a*b", "__metadata__", "mckpt.digest", "mckpt.version",
    "$tensor", "$dict", "$", "__class__", "__proto__", "constructor", "None", "null", "true", "NaN", "inf", "-inf",
    "",
)  # fmt: skip
_CODE = (
    "'; DROP TABLE checkpoints; --", "' OR '1'='1", '" OR ""="', "1; ATTACH '/tmp/x' AS y", "x' UNION SELECT 1--",
    "%' ESCAPE '", "_%", "%", "%%", "\\'", "''", '""', "`id`", "$(id)", "${HOME}", "$HOME", "; id", "| id", "& id",
    "&& id", "> secret.txt", "< secret.txt", ">> secret.txt", "$(touch secret.txt)", "`touch secret.txt`", "!!",
    "a;b", "a b", "a\tb", "'", '"', "`", "%s", "%n", "%x%x%x%n", "{0}", "{}", "{__class__}", "{0.__class__.__mro__}",
    "{{}}", "%(name)s", "$name", "#{7*7}", "{{7*7}}", "<script>alert(1)</script>", "<!--", "]]>", "&amp;", "&#0;",
    "\\x00", "\\n", "\\u0000", "\\", "\\\\", "a\\", "/*", "*/", "//", "#", "[bold red]", "[/]", "[link=x]y[/link]",
    "__import__('os').system('id')", "c__builtin__\neval\n", "!!python/object/apply:os.system",
    "read_csv('/etc/passwd')",
)  # fmt: skip
_TERMINAL = (
    "\x1b[31mred", "\x1b]0;title\x07", "\x1b]8;;http://x\x1b\\y", "\x1b[1A\x1b[2K", "\x9b31m", "\x1bc", "\x1b[6n",
    "\x07", "\b\b\b", "a\rb", "a\nb", "a\r\nb", "a\x0bb", "a\x0cb", "a\x85b", "a\u2028b", "a\u2029b", "\x1bP+q\x1b\\",
    "\x00", "\x01", "\x1f", "\x7f", "\x80", "\x9f", "a\0b", "a\0", "\0a",
)  # fmt: skip
_UNICODE = (
    "\u202eexe.txt", "\u202dx", "\u2066x\u2069", "\u200bx", "x\u200d", "\ufeffx", "\u00adx", "\u0301", "e\u0301",
    "\u00e9", "\ufb01", "\u212a", "\u0130", "\u0131", "\u00df", "\u1e9e", "\uff0e\uff0e\uff0f", "\u2024\u2024/",
    "\u2215x", "\u2044x", "\u29f8x", "\uff3cx", "\u3000", "\u00a0x", "\u2003x", "\u115f", "\u3164", "\U0001f4a9",
    "\U0001f468\u200d\U0001f469", "\U000e0001", "\U000e0041", "\U0010ffff", "\ufffe", "\uffff", "\ufdd0", "\ue000",
    "\ud800", "\udfff", "\ud83d\ude00", "\udc80", "\udcff", "a\ud800b", "\u0430dmin", "\u05d0\u05d1", "\u0627\u0628",
    "\u0e01\u0e33", "Z\u0351\u036b\u0343",
)  # fmt: skip
_SIZES = (
    127, 128, 129, 200, 255, 256, 257, 512, 513, 1024, 4095, 4096, 4097, 65536,
)  # fmt: skip


def _all() -> Iterator[str]:
    yield from _RESERVED
    yield from _CODE
    yield from _TERMINAL
    yield from _UNICODE
    yield from (up + target for up in (*_UPWARDS, *_ENCODED) for target in _TARGETS)
    yield from (root + target for root in _ABSOLUTE for target in ("etc/passwd", "dev/zero", "tmp/x", ""))
    yield from (before + "good" + after for before, after in itertools.product(_AFFIXES, _AFFIXES) if before or after)
    yield from (part * size for size in _SIZES for part in ("a", "\u00e9"))
    yield from ("a/" * size for size in (2, 100, 3000))
    yield from ("../" * size + "etc/passwd" for size in (4, 16, 64))


NAMES: tuple[str, ...] = tuple(dict.fromkeys(_all()))
"""All of them, each once."""


def fits_a_command_line(name: str) -> bool:
    """Whether the system could hand a name to a program: no NUL, no surrogate but those that stand for bytes."""
    try:
        return "\0" not in name and len(name.encode("utf-8", "surrogateescape")) < 100_000
    except UnicodeEncodeError:
        return False
