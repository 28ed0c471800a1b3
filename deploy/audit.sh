#!/usr/bin/env bash
# Asks PyPI's advisory database about everything that the image installs. Status 1 where something is known to be vulnerable, or
# where only a part could be asked about; where the database cannot be asked at all, a note and status 0, for that is no news of this
# project.
set -euo pipefail
cd "$(dirname "$0")/.."
tools=$(mktemp -d)
trap 'rm -rf "$tools"' EXIT

unasked() { echo "deploy/audit.sh: NOT AUDITED: $1" >&2; }
python3 -m venv "$tools" && "$tools/bin/pip" install --quiet 'pip-audit>=2.9' 2>"$tools/error" || {
  unasked "pip-audit cannot be installed: $(tail -1 "$tools/error")"
  exit 0
}

status=0
for lock in deploy/requirements.lock deploy/build.lock; do
  timeout 120 "$tools/bin/pip-audit" --requirement "$lock" --require-hashes --disable-pip --progress-spinner off \
    --format json >"$tools/found.json" 2>"$tools/error" || true
  python3 - "$lock" "$tools/found.json" <<'PYTHON' || { [ $? = 3 ] && unasked "the database answered nothing about $lock" || status=1; }
import json, sys
lock, file = sys.argv[1:]
try:
    known = json.load(open(file))["dependencies"]
except (ValueError, KeyError):
    sys.exit(3)
bad = [(each["name"], each["version"], vuln) for each in known for vuln in each.get("vulns", [])]
for name, version, vuln in bad:
    cure = ", ".join(vuln["fix_versions"]) or "no release yet"
    print(f"{lock}: {name} {version}: {vuln['id']}, mended in {cure}", file=sys.stderr)
asked = [each for each in known if "skip_reason" not in each]
print(f"{lock}: {len(asked)} of {len(known)} releases were asked about, {len(bad)} advisories")
sys.exit(1 if bad or 0 < len(asked) < len(known) else 0 if asked else 3)
PYTHON
done
exit "$status"
