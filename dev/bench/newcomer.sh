#!/usr/bin/env bash
# A newcomer's first minutes: a fresh clone and an empty home, `make run` twice. Prints how long each took.
# Nothing of this machine is used but Python, make, git and Go; what was downloaded and built is removed afterwards.
set -euo pipefail

checkout=$(git -C "$(dirname "${BASH_SOURCE[0]}")" rev-parse --show-toplevel)
# A version manager's python3 would look for itself in the empty home.
python=$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')
place=$(mktemp -d)

for variable in $(compgen -e); do
  case $variable in AGENT_* | OPENAI_* | TEMPORAL_* | XDG_* | GOPATH | GOCACHE | GOMODCACHE | VIRTUAL_ENV | PYTHONPATH) unset "$variable" ;; esac
done
export HOME=$place/home

leave() {
  make --silent -C "$place/clone" down || true
  chmod -R u+w "$place" # Go's module cache is read-only
  rm -rf "$place"
}

run() {
  make -C "$place/clone" run PYTHON="$python"
}

trap leave EXIT
mkdir "$HOME"
git clone --quiet "$checkout" "$place/clone"
SECONDS=0; run; first=$SECONDS
SECONDS=0; run; second=$SECONDS
echo "make run in a fresh clone: $first s; again: $second s"
