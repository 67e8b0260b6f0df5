#!/bin/sh
# Prints a Python from 3.11 to 3.13: the one named in PYTHON, else that of .venv, else the first on the PATH that fits.
# One line and status 2 where none does.

fits='import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))'
seen=

for python in "${PYTHON:-.venv/bin/python}" python3 python3.13 python3.12 python3.11; do
    # Asked what it is, not whether it exists: a pyenv shim exists for every version and fails when started.
    version=$("$python" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null) || version=
    if [ -n "$version" ]; then
        "$python" -c "$fits" 2>/dev/null && printf '%s\n' "$python" && exit 0
        seen="${seen:+$seen, }$python is $version"
    fi
    [ -n "$PYTHON" ] && break
done

echo "error: Python 3.11, 3.12 or 3.13 is needed (${seen:-no ${PYTHON:-python3} here}); install one, or name it: make PYTHON=/path/to/python3.12" >&2
exit 2
