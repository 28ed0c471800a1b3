#!/usr/bin/env bash
# Pins what the image is made of: each release with the hashes of its files. None is younger than a week, for a release that
# somebody took over is mostly found out within days. Needs uv (pip install uv).
set -euo pipefail
cd "$(dirname "$0")/.."
command -v uv >/dev/null || { echo "deploy/lock.sh needs uv: pip install uv" >&2; exit 1; }

before=$(python3 -c 'import datetime; print((datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=7)).date())')
pin() {
  uv pip compile "$1" --universal --python-version 3.11 --generate-hashes --upgrade --quiet --exclude-newer "$before" \
    --custom-compile-command deploy/lock.sh --output-file "$2"
}
pin pyproject.toml deploy/requirements.lock
sed -n '/^\[build-system\]/,/^$/s/.*requires = \["\(.*\)"\]/\1/p' pyproject.toml > deploy/build.in
pin deploy/build.in deploy/build.lock
rm deploy/build.in
