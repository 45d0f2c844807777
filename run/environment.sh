# Sourced by demo.sh and test.sh: makes .venv with the package and its pinned dependencies, once.
# GRAPHGPS_EXT_PYTHON chooses the interpreter (3.11 or 3.12).
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

find_python() {
  local candidate
  for candidate in ${GRAPHGPS_EXT_PYTHON:-python3.11 python3.12 python3}; do
    if "$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 12))' 2>/dev/null; then
      echo "$candidate"
      return
    fi
  done
  echo 'error: Python 3.11 or 3.12 is needed, none was found (set GRAPHGPS_EXT_PYTHON)' >&2
  return 1
}

make_environment() {
  local extras="${1:-}" wanted stamp=.venv/.installed
  wanted="$extras $(cat setup.py constraints.txt | cksum)"
  # What was installed for these files stays; the wider [dev] serves the demo too.
  if [ -f "$stamp" ] && { [ "$(cat "$stamp")" = "$wanted" ] || [ "$(cat "$stamp")" = "[dev] ${wanted#* }" ]; }; then
    return
  fi
  local python
  python="$(find_python)" || return 1
  echo "installing into .venv with $("$python" --version) ..."
  [ -x .venv/bin/python ] || "$python" -m venv .venv || return 1
  .venv/bin/python -m pip install --quiet -c constraints.txt -e ".$extras" || return 1
  echo "$wanted" > "$stamp"
}
