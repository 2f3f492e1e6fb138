#!/bin/sh
# The foreign peers: makes its own Python environment from PyPI, tries them among themselves, then drives a gateway.
#
#   run.sh                        only among themselves
#   run.sh --target-file FILE     a gateway that runs; FILE is its ready file
#   run.sh --gateway BINARY       starts `BINARY dev` for the tests and ends it; then `BINARY run` with Python
#                                 backends behind it, which judge its tokens, too
set -eu
here=$(cd "$(dirname "$0")" && pwd)
venv=${FOREIGN_VENV:-$here/.venv}
export PYTHONDONTWRITEBYTECODE=1

if ! cmp -s "$here/requirements.txt" "$venv/installed"; then
    python3 -m venv "$venv"
    "$venv/bin/pip" install --quiet --disable-pip-version-check -r "$here/requirements.txt"
    cp "$here/requirements.txt" "$venv/installed"
fi
"$venv/bin/python" "$here/selftest.py"

case ${1:-} in
    "") ;;
    --target-file) "$venv/bin/python" "$here/test_foreign.py" --target-file "$2" ;;
    --gateway) "$venv/bin/python" "$here/with_gateway.py" "$2" ;;
    *) sed -n '2,8s/^# \{0,1\}//p' "$0" >&2; exit 2 ;;
esac
