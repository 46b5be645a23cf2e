#!/bin/sh
# Makes .venv: the locked dependencies by hash, then the members as editable packages. Does nothing when it is up to date.
set -eu
cd "$(dirname "$0")/.."

stamp=.venv/.lock-hash
want=$(cat requirements-dev.lock ./*/pyproject.toml | sha256sum | cut -d' ' -f1)
if [ "$(cat "$stamp" 2>/dev/null || true)" = "$want" ] && .venv/bin/python -c '' 2>/dev/null; then
  exit 0
fi

python=${PYTHON:-python3}
if ! "$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then
  echo "make setup needs Python 3.11 or newer; set PYTHON to one." >&2
  exit 1
fi
if ! "$python" -c 'import ensurepip, venv' 2>/dev/null; then
  if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null; then
    echo "Installing python3-venv (a few seconds)"
    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv >/dev/null
  else
    echo "make setup needs Python's venv module; install it (Debian: apt-get install python3-venv)." >&2
    exit 1
  fi
fi

echo "Making .venv from requirements-dev.lock (about 30 s from an empty cache)"
rm -rf .venv
"$python" -m venv .venv
.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements-dev.lock
# At once: a start of pip takes as long as a member.
set -- -e core -e operator -e api -e evaluator-image -e reporter -e client
.venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation "$@"
printf %s "$want" > "$stamp"
