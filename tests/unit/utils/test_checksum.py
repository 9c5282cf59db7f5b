import builtins
import hashlib
import sys

import pytest

from model_checkpoint.errors import ConfigurationError, CorruptionError, MissingDependencyError, StorageError
from model_checkpoint.utils.checksum import ChecksumCalculator


def test_sha256_is_that_of_sha256sum(tmp_path):
    """A file's and its bytes' checksum are the plain SHA-256, also above one read."""
    data = bytes(range(256)) * 20_000
    path = tmp_path / "data"
    path.write_bytes(data)
    expected = hashlib.sha256(data).hexdigest()
    assert ChecksumCalculator().calculate(path) == expected
    assert ChecksumCalculator().calculate(str(path)) == expected
    assert ChecksumCalculator().calculate(memoryview(data)) == expected


def test_crc32c_has_the_published_check_value(tmp_path):
    """CRC-32C of "123456789" is e3069283, in pieces too."""
    (tmp_path / "data").write_bytes(b"123456789")
    assert ChecksumCalculator("crc32c").calculate(b"123456789") == "e3069283"
    assert ChecksumCalculator().calculate(tmp_path / "data", "crc32c") == "e3069283"


def test_verify_tells_right_from_wrong(tmp_path):
    """The expected checksum passes in any case; another one names file and digests."""
    path = tmp_path / "data"
    path.write_bytes(b"abc")
    calculator = ChecksumCalculator()
    calculator.verify(path, hashlib.sha256(b"abc").hexdigest().upper())
    with pytest.raises(CorruptionError, match="sha256 is ba7816bf") as caught:
        calculator.verify(path, "00" * 32)
    assert caught.value.path == str(path)


def test_blake3_without_its_package_names_the_extra(monkeypatch):
    """Where blake3 is not installed, the error says how to install it."""
    monkeypatch.setitem(sys.modules, "blake3", None)
    with pytest.raises(MissingDependencyError, match=r"model-checkpoint-engine\[hash\]"):
        ChecksumCalculator("blake3").calculate(b"")


def test_blake3_has_the_published_check_value():
    """BLAKE3 of nothing is the first vector of its specification."""
    pytest.importorskip("blake3")
    assert ChecksumCalculator("blake3").calculate(b"").startswith("af1349b9f5f9a1a6a0404dea36dcc949")


def test_unknown_names_and_files_are_refused(tmp_path):
    """An unknown algorithm and a missing file raise what they are."""
    with pytest.raises(ConfigurationError, match="md5"):
        ChecksumCalculator("md5")
    with pytest.raises(StorageError) as caught:
        ChecksumCalculator().calculate(tmp_path / "none")
    assert caught.value.path == str(tmp_path / "none")
    assert isinstance(caught.value, builtins.OSError)
