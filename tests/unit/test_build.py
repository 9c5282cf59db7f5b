"""The package installs as a wheel and as an editable, and works from both."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
import zipfile
from pathlib import Path

import pytest

pytest.importorskip("scikit_build_core", reason="building needs the build group of pyproject.toml")

ROOT = Path(__file__).parents[2]
TRY_INSTALL = ROOT / ".ci" / "try_install.py"


def run(*command: str | Path, cwd: Path) -> str:
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def build(hook: str, target: Path) -> Path:
    """Build the kind of wheel that one hook of PEP 517 makes; the build tree is the one of `make build`."""
    script = f"import scikit_build_core.build as backend; backend.{hook}({str(target)!r})"
    run(sys.executable, "-c", script, cwd=ROOT)
    (wheel,) = target.glob("*.whl")
    return wheel


def install(wheel: Path, environment: Path) -> Path:
    """Install one wheel in a new environment, which sees the dependencies of this one; return its interpreter."""
    run(sys.executable, "-m", "venv", "--without-pip", environment, cwd=ROOT)
    python = environment / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", python, "install", "--no-deps", "--no-index", wheel, cwd=environment)
    (site_packages,) = environment.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"), encoding="utf-8")
    return python


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build("build_wheel", tmp_path_factory.mktemp("wheel"))


def test_the_wheel_has_every_source_and_nothing_else(wheel: Path) -> None:
    """The package's files that git does not ignore, the extension and the licence: no tests, no leftovers."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    listing = run("git", "ls-files", "--cached", "--others", "--exclude-standard", "python/model_checkpoint", cwd=ROOT)
    sources = {name.removeprefix("python/") for name in listing.splitlines() if (ROOT / name).exists()}
    with zipfile.ZipFile(wheel) as archive:
        packed = {name for name in archive.namelist() if not name.endswith("/")}
    extension = f"model_checkpoint/_native/_core{sysconfig.get_config_var('EXT_SUFFIX')}"
    package = {name for name in packed if name.startswith("model_checkpoint/")}
    assert package == sources | {extension}
    assert any(name.endswith("licenses/LICENSE") for name in packed - package)
    assert all(".dist-info/" in name for name in packed - package)


def test_an_installed_wheel_works(wheel: Path, tmp_path: Path) -> None:
    """`pip install .`: a file is saved, loaded and verified by the installed copy."""
    python = install(wheel, tmp_path / "venv")
    location = run(python, TRY_INSTALL, cwd=tmp_path).splitlines()[-1]
    assert Path(location).is_relative_to(tmp_path)


def test_an_editable_installation_works(tmp_path: Path) -> None:
    """`pip install -e .`: the same, with the sources of this checkout."""
    (tmp_path / "wheel").mkdir()
    python = install(build("build_editable", tmp_path / "wheel"), tmp_path / "venv")
    location = run(python, TRY_INSTALL, cwd=tmp_path).splitlines()[-1]
    assert Path(location) == ROOT / "python" / "model_checkpoint"
