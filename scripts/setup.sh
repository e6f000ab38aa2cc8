# Makes the virtual environment .venv and puts it on the PATH; sourced by scripts/demo and scripts/test.
# PYTHON=/path/to/python chooses the interpreter that .venv is made with.

root=$(cd -- "$(dirname -- "${BASH_SOURCE[0]}")/.." > /dev/null && pwd -P)
venv=$root/.venv
cd -- "$root"

# Is this a Python that asr runs on, and can it make virtual environments?
suitable() {
  "$1" -c 'import ensurepip, sys, venv; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
    > /dev/null 2>&1
}

find_python() {
  local candidate
  for candidate in ${PYTHON:+"$PYTHON"} python3.11 python3.12 python3.13 python3 python; do
    if suitable "$candidate"; then
      printf '%s\n' "$candidate"
      return
    elif [[ $candidate == "${PYTHON:-}" ]]; then
      printf 'PYTHON=%s is no Python 3.11, 3.12 or 3.13 with venv.\n' "$PYTHON" >&2
      return 3
    fi
  done
  {
    printf 'asr needs Python 3.11, 3.12 or 3.13 with its module venv, and none was found.\n'
    printf 'Install one (Debian, Ubuntu: apt install python3 python3-venv), or say where it is:\n'
    printf '  PYTHON=/path/to/python %s\n' "$0"
  } >&2
  return 3
}

# Moved checkouts and removed interpreters leave a .venv that does not start.
make_venv() {
  local python
  if suitable "$venv/bin/python" && "$venv/bin/pip" --version > /dev/null 2>&1; then
    return
  fi
  python=$(find_python)
  printf 'making %s with %s\n' "$venv" "$("$python" --version)" >&2
  "$python" -m venv --clear "$venv"
}

# installed EXTRA DIGEST: was asr installed with that extra from the pyproject.toml of that digest?
installed() {
  local stamp=$venv/.installed-$1
  [[ -f $stamp && $(< "$stamp") == "$2" ]]
}

# set_up EXTRA: asr installed in place with that extra; nothing to do while pyproject.toml is the same.
set_up() {
  local extra=$1 digest quiet=--quiet
  make_venv
  digest=$("$venv/bin/python" -c \
    'import hashlib, sys; print(hashlib.sha256(open(sys.argv[1], "rb").read()).hexdigest())' \
    "$root/pyproject.toml")
  if ! installed "$extra" "$digest" && ! installed dev "$digest"; then  # dev has all extras
    printf 'installing asr[%s]; the first time this downloads PyTorch (some gigabytes)\n' "$extra" >&2
    if [[ -t 2 ]]; then quiet=; fi
    "$venv/bin/python" -m pip install --disable-pip-version-check ${quiet:+"$quiet"} \
      --editable "${root}[$extra]"
    printf '%s\n' "$digest" > "$venv/.installed-$extra"
  fi
  export VIRTUAL_ENV=$venv PATH=$venv/bin:$PATH
}
