#!/usr/bin/env bash
# Configures and builds into build/. Arguments are targets; all by default.
set -euo pipefail
cd "$(dirname "$0")/.."
cmake --preset default -DPython3_EXECUTABLE="$PWD/.venv/bin/python" >build-configure.log 2>&1 || { cat build-configure.log >&2; exit 1; }
rm -f build-configure.log
cmake --build --preset default ${1:+--target "$@"}
