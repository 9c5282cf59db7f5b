#!/usr/bin/env bash
# Makes .venv with everything that building and checking need; called by `make setup`, safe to run again.
#
# Missing system packages are installed when this runs as root on Debian or Ubuntu; otherwise the command that installs
# them is named. PYTHON chooses the interpreter (default: the first of python3, python3.13, ... that is 3.11 or later).
set -euo pipefail
cd "$(dirname "$0")/.."

say() { printf '== %s\n' "$*"; }
fail() { printf 'error: %s\n' "$*" >&2; exit 1; }

find_python() {
  local candidate
  for candidate in ${PYTHON:-python3 python3.14 python3.13 python3.12 python3.11}; do
    if "$candidate" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
      command -v "$candidate"
      return
    fi
  done
}

# One line per missing Debian package.
missing_packages() {
  local python name
  python=$(find_python)
  if [[ -z $python ]]; then
    printf '%s\n' python3 python3-venv python3-dev
  else
    name=$("$python" -c 'import sys; print("python{}.{}".format(*sys.version_info))')
    "$python" -c 'import venv; from ensurepip import version' 2>/dev/null || echo "$name-venv"
    "$python" -c 'import os, sysconfig; os.stat(sysconfig.get_path("include") + "/Python.h")' 2>/dev/null ||
      echo "$name-dev"
  fi
  command -v g++ >/dev/null || echo g++
  echo '#include <gtest/gtest.h>' | g++ -x c++ -E - >/dev/null 2>&1 || echo libgtest-dev
}

# What only some tests need: the file systems on which they cut the power, what records the simulated ones, and the
# browser that opens the report.
optional_packages() {
  command -v strace >/dev/null || echo strace
  command -v mkfs.ext4 >/dev/null || echo e2fsprogs
  command -v mkfs.xfs >/dev/null || echo xfsprogs
  command -v mkfs.btrfs >/dev/null || echo btrfs-progs
  command -v chromium >/dev/null || command -v google-chrome >/dev/null || echo chromium
}

install_packages() {
  local install=(apt-get install --yes --no-install-recommends "$@")
  command -v apt-get >/dev/null || fail "these are missing (Debian's names): $*"
  [[ $EUID -eq 0 ]] || fail "these are missing: $*; install them with: sudo ${install[*]}"
  say "installing system packages: $*"
  apt-get update -qq
  DEBIAN_FRONTEND=noninteractive "${install[@]}" >/dev/null
}

mapfile -t missing < <(missing_packages)
if ((${#missing[@]})); then
  install_packages "${missing[@]}"
  mapfile -t missing < <(missing_packages)
  ((${#missing[@]} == 0)) || fail "still missing: ${missing[*]} (Python 3.11 or later is needed)"
fi

mapfile -t missing < <(optional_packages)
if ((${#missing[@]})) && [[ $EUID -eq 0 ]] && command -v apt-get >/dev/null; then
  install_packages "${missing[@]}"
fi

if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
  say "making .venv with $(find_python)"
  "$(find_python)" -m venv --clear .venv
fi

say "installing Python packages into .venv (torch is among them; the first time takes minutes)"
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --upgrade pip
.venv/bin/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --group dev
