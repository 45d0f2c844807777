#!/usr/bin/env bash
# Format, lint, types, import rules and tests.
#
#     ./run/test.sh             everything
#     ./run/test.sh quick       without the slow tests: under 90 s on two cores
#
# Further arguments go to pytest: ./run/test.sh quick -k clamp
set -euo pipefail
source "$(dirname "$0")/environment.sh"
make_environment '[dev]' || exit 1

tests=()
if [ "${1:-}" = quick ]; then
  tests=(-m 'not slow')
  shift
fi
bin=.venv/bin
"$bin/ruff" format --check .
"$bin/ruff" check .
"$bin/mypy"
"$bin/lint-imports" --no-cache | tail -n 4
# A process per core: most of it is single-threaded. Files in their order: those of few and long tests would come last.
"$bin/python" -m pytest -n 2 --dist loadfile --no-loadscope-reorder --durations 15 "${tests[@]}" "$@"
