#!/usr/bin/env bash
# Installs, builds and runs every test; the last line is the count. Exit code 0 only if all passed and some ran.
set -uo pipefail
cd "$(dirname "$0")/.."
tools/install-deps.sh || exit 1
echo "building"
tools/build.sh || exit 1
exec .venv/bin/python tools/run_tests.py
