#!/usr/bin/env bash
# Builds the wheel, lets auditwheel give it its manylinux tag, and tries it in an environment of its own.
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '== %s\n' "$*"; }

say "building the wheel"
rm -rf dist wheelhouse
python -m pip wheel --quiet --no-deps --no-build-isolation --wheel-dir dist .

say "auditwheel"
auditwheel repair --wheel-dir wheelhouse dist/*.whl

say "installing the wheel and its dependencies in a fresh environment"
fresh=$(mktemp -d)
trap 'rm -rf "$fresh"' EXIT
python -m venv "$fresh/venv"
"$fresh/venv/bin/python" -m pip install --quiet --constraint constraints.txt wheelhouse/*.whl

say "saving and loading with it"
cp .ci/try_install.py "$fresh"
(cd "$fresh" && env -u PYTHONPATH venv/bin/python try_install.py)
printf 'ready: %s\n' wheelhouse/*.whl
