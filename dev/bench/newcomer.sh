#!/usr/bin/env bash
# A newcomer's first minutes: a fresh clone and an empty home, `make run` twice. Prints wall and CPU seconds of each.
#
#   dev/bench/newcomer.sh [CHECKOUT]                 # another checkout beside this one: two commits, side by side
#   TEMPORAL=/path/to/temporal dev/bench/newcomer.sh # with a Temporal CLI on the PATH, where none is built
#
# Nothing of this machine is used but Python, make, git and Go; what was downloaded and built is removed afterwards.
# The CPU is that of make and all it waits for: what runs on in the background is left out.
set -euo pipefail

checkout=$(git -C "${1:-$(dirname "${BASH_SOURCE[0]}")}" rev-parse --show-toplevel)
# A version manager's python3 would look for itself in the empty home.
python=$(python3 -c 'import os, sys; print(os.path.realpath(sys.executable))')
place=$(mktemp -d)

for variable in $(compgen -e); do
  case $variable in AGENT_* | OPENAI_* | TEMPORAL_* | XDG_* | UV_* | GOPATH | GOCACHE | GOMODCACHE | VIRTUAL_ENV | PYTHONPATH) unset "$variable" ;; esac
done
export HOME=$place/home

leave() {
  make --silent -C "$place/clone" down || true
  chmod -R u+w "$place" # Go's module cache is read-only
  rm -rf "$place"
}

run() {
  TIMEFORMAT="$1: %R s, CPU %U + %S s"
  time make -C "$place/clone" run PYTHON="$python"
}

trap leave EXIT
mkdir "$HOME" "$place/path"
if [ -n "${TEMPORAL:-}" ]; then
  ln -s "$TEMPORAL" "$place/path/temporal"
  export PATH=$place/path:$PATH
fi
git clone --quiet "$checkout" "$place/clone"
run "make run in a fresh clone"
run "make run again"
