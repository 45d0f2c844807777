#!/usr/bin/env bash
# All checks and tests: format, lint, types, import rules, docs, pytest. Arguments go to pytest.
set -euo pipefail
source "$(dirname "$0")/environment.sh"
make_environment '[dev]' || exit 1

bin=.venv/bin
"$bin/ruff" format --check .
"$bin/ruff" check .
"$bin/mypy"
"$bin/lint-imports" --no-cache | tail -n 4
"$bin/python" run/document_reference.py --check
"$bin/python" run/document_results.py --check
"$bin/python" -m pytest -n 2 --dist loadfile "$@"  # a process per core: most of it is single-threaded
