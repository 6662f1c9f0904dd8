# What the gate and the nightly run share. Needs bash >= 4.4, git and one Python >= 3.11, and leaves nothing behind in
# the checkout.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
unset PYTHONPATH PYTHONHOME PYTHONDONTWRITEBYTECODE VIRTUAL_ENV OMI_API_KEY OMI_API_BASE PYTEST_ADDOPTS
export PIP_DISABLE_PIP_VERSION_CHECK=1

scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

say() { printf '\n== %s (at %d:%02d)\n' "$*" $((SECONDS / 60)) $((SECONDS % 60)); }

# Every Python of a supported version that really runs, the newest patch of each once.
pythons=()
for version in 3.11 3.12 3.13 3.14; do
  candidates=("$(command -v "python$version" || true)" "$(command -v python3 || true)")
  if command -v pyenv >/dev/null; then
    while IFS= read -r path; do candidates+=("$path"); done \
      < <(find "$(pyenv root)/versions" -maxdepth 3 -path "*/bin/python$version" 2>/dev/null | sort -rV)
  fi
  for candidate in "${candidates[@]}"; do
    [ -n "$candidate" ] || continue
    real=$("$candidate" -c 'import sys; print(sys.executable if "%d.%d" % sys.version_info[:2] == sys.argv[1] else "")' \
      "$version" 2>/dev/null || true)
    if [ -n "$real" ]; then pythons+=("$real"); break; fi
  done
done
[ ${#pythons[@]} -gt 0 ] || { echo "no Python from 3.11 on was found" >&2; exit 1; }
say "Pythons: ${pythons[*]}"

# A copy of the tracked files, and a directory whose python3 is the given one.
checkout() { # python, name
  mkdir -p "$scratch/$2/bin" "$scratch/$2/tree"
  git ls-files -z | tar --null -T - -cf - | tar -xf - -C "$scratch/$2/tree"
  printf '#!/bin/sh\nexec "%s" "$@"\n' "$1" > "$scratch/$2/bin/python3"
  chmod +x "$scratch/$2/bin/python3"
}

# The n-th shell block of README: its lines are what people copy.
readme_line() {
  awk -v wanted="$1" '/^```sh$/ { n++; inside = 1; next } /^```$/ { inside = 0 } inside && n == wanted' README.md
}

# An environment of its own for the tests, in a copy of the project.
prepare() { # python, name
  checkout "$1" "$2"
  "$1" -m venv "$scratch/$2/tree/.venv"
  (cd "$scratch/$2/tree" && .venv/bin/python -m pip install -q -e '.[test]')
}

# Set up modes, one or several folded together, for what follows in this subshell. The variables reach the workers
# of pytest, which options of the interpreter do not.
in_mode() {
  local mode
  for mode in "$@"; do
    case $mode in
      plain) ;;
      dev) export PYTHONDEVMODE=1 ;;
      # Two in one: without asserts, and as with an aiohttp that is not known yet.
      # Under -O pytest warns that plain asserts outside of tests do nothing; that is what is wanted.
      session)
        export PYTHONOPTIMIZE=1
        PYTEST_ADDOPTS="--through-session -W 'ignore:assertions not in test modules:pytest.PytestConfigWarning'"
        export PYTEST_ADDOPTS
        ;;
      pure) export AIOHTTP_NO_EXTENSIONS=1 ;; # aiohttp's parser in Python
      speed) .venv/bin/python -m pip install -q -e '.[speed]' ;; # orjson and uvloop, with the same results
      *) echo "no such mode: $mode" >&2; return 1 ;;
    esac
  done
}

# The suite, or what the arguments select of it, in the environment of this directory.
suite() { .venv/bin/python -m pytest -q "$@" || repeated; }

# Real sockets, signals and processes on a machine that others share: what fails is repeated alone, one test at a
# time, and what fails then fails the run. So do more than three such tests in all, which is no chance any more, and
# at once anything but failed tests (exit code 1).
repeated() { # after a run that ended with $?
  local code=$? failed
  [ "$code" -eq 1 ] || return "$code"
  failed=$(.venv/bin/python -c 'import json; print(len(json.load(open(".pytest_cache/v/cache/lastfailed"))))')
  echo "$failed" >> "$scratch/repeated"
  if [ "$(awk '{ sum += $1 } END { print sum }' "$scratch/repeated")" -gt 3 ]; then
    say "more than three tests failed in all: they are not repeated"
    return 1
  fi
  say "once more, alone: what failed"
  .venv/bin/python -m pytest -n 0 -p no:randomly --last-failed --last-failed-no-failures none
}
