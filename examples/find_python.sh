# What every script here needs. Each sets `example` to its own name first: messages begin with it.

fail() { echo "$(basename "$example"): $1" >&2; exit 1; }

find_python() {
    local name
    for name in ${PYTHON:-} python3 python3.13 python3.12 python3.11 python; do
        if "$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null
        then
            echo "$name"
            return
        fi
    done
    fail "it needs Python 3.11, 3.12 or 3.13; set PYTHON to one of them."
}
