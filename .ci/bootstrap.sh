#!/bin/sh
# Finds a Python that can run bootstrap.py, which does the rest. POSIX shell, because nothing else can be
# taken for granted on a fresh machine. As root on Debian or Ubuntu, a missing Python is installed.
set -eu

here=$(dirname "$0")

is_new_enough() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1
}

find_python() {
    for candidate in python3.11 python3.12 python3.13 python3.14 python3 python \
        /usr/local/bin/python3 /usr/bin/python3 "${HOME:-/nonexistent}"/.pyenv/versions/*/bin/python; do
        if is_new_enough "$candidate"; then
            echo "$candidate"
            return 0
        fi
    done
    return 1
}

if ! python=$(find_python); then
    if [ "$(id -u)" = 0 ] && command -v apt-get >/dev/null 2>&1; then
        echo "No Python 3.11 or newer found; installing Debian's." >&2
        apt-get -qq update >&2 </dev/null || true
        DEBIAN_FRONTEND=noninteractive apt-get -qq install -y --no-install-recommends \
            python3 python3-venv >&2 </dev/null || true
    fi
    if ! python=$(find_python); then
        echo "chaoskit needs CPython 3.11 or newer, and none was found on PATH, in ~/.pyenv or in /usr." >&2
        echo "Debian and Ubuntu: sudo apt-get install python3 python3-venv (Debian 12, Ubuntu 24.04 or newer)." >&2
        exit 1
    fi
fi

exec "$python" "$here/bootstrap.py" "$@"
