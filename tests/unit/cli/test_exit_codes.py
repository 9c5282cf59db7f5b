"""Errors become exit codes in one place."""

import pytest

from model_checkpoint import errors
from model_checkpoint.cli.exit_codes import ExitCode, exit_code_of

BY_CODE = {
    ExitCode.INTEGRITY: [
        errors.CorruptionError("x"),
        errors.FormatError("x"),
        errors.UnsupportedVersionError("x"),
        errors.UnverifiableError("x"),
    ],
    ExitCode.NOT_FOUND: [errors.CheckpointNotFoundError("x", ref="y")],
    ExitCode.USAGE: [errors.ConfigurationError("x")],
    ExitCode.FAILED: [
        errors.StorageError("x"),
        errors.CheckpointExistsError("x"),
        errors.CatalogDamagedError("x"),
        errors.RetentionError("x"),
        errors.MissingDependencyError("torch", extra="torch"),
        OSError("x"),
        RuntimeError("x"),
    ],
    ExitCode.INTERRUPTED: [KeyboardInterrupt()],
}


@pytest.mark.parametrize(("code", "error"), [(code, error) for code, found in BY_CODE.items() for error in found])
def test_each_error_has_its_code(code, error):
    """The class of an error decides the exit code."""
    assert exit_code_of(error) == code


def test_codes_are_those_that_scripts_know():
    """The documented numbers never change."""
    assert [int(code) for code in ExitCode] == [0, 1, 2, 3, 4, 5, 130]
