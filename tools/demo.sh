#!/usr/bin/env bash
# Installs, builds, compiles SmolLM2-135M-Instruct to one executable and asks it something. Arguments: the question.
set -euo pipefail
cd "$(dirname "$0")/.."
tools/install-deps.sh
echo "building (the first time takes some minutes)"
tools/build.sh sluice sluice-opt
build/bin/sluice compile models/SmolLM2-135M-Instruct.Q4_1.gguf -o build/smollm2
question=${*:-What is the capital of France?}
printf '\n$ build/smollm2 -p "%s" --temp 0\n' "$question"
build/smollm2 -p "$question" --temp 0
