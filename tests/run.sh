#!/usr/bin/env bash
# Set everything up and run the tests:
#   bash tests/run.sh           all of them, but for what the last two run
#   bash tests/run.sh --fast    the inner loop: no TensorFlow, about two minutes with set-up
#   bash tests/run.sh -m containers -n 0   images are built and run, one after the other, for half an
#                               hour and as root; they are in none of the above
#   bash tests/run.sh -m long   documents of the other templates, typed as they stand: a quarter of an
#                               hour; also in none of the above
# Further words go to pytest. Needs Python 3.11 to 3.13 and git; environments are kept in .venv and
# build/ and used again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

selection=()
if [ "${1:-}" = "--fast" ]; then
    selection=(-m "not slow")
    shift
fi

has_postgresql() {
    command -v pg_ctl >/dev/null || compgen -G "/usr/lib/postgresql/*/bin/pg_ctl" >/dev/null
}

# What tests need besides Python: a database for MLflow's server, and a browser for pages.
install_packages() {
    local as_root=() program
    if [ "$(id -u)" -ne 0 ]; then
        as_root=(sudo)
    fi
    for program in "${as_root[@]}" apt-get; do
        if ! command -v "$program" >/dev/null; then
            echo "tests/run.sh: install $* or use --fast." >&2
            exit 1
        fi
    done
    "${as_root[@]}" apt-get -qq update
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive \
        apt-get -qq install -y --no-install-recommends "$@" >/dev/null
}

# === The tool with its tests ===
if [ ! -x .venv/bin/aistart ]; then
    "${PYTHON:-python3}" -m venv .venv
fi
# Quieter than --quiet: package indexes that are configured but empty are not our concern.
.venv/bin/python -m pip --quiet --quiet install --editable '.[dev]'

.venv/bin/ruff check --config pyproject.toml
.venv/bin/ruff format --config pyproject.toml --check
.venv/bin/mypy

# === PostgreSQL and Chromium, which slow tests use, and what builds images where they are tested ===
if [ ${#selection[@]} -eq 0 ]; then
    packages=()
    has_postgresql || packages+=(postgresql)
    [ -x /usr/bin/chromium ] || packages+=(chromium fonts-noto-cjk)
    if [[ " $* " == *" containers "* ]] && ! command -v buildah >/dev/null; then
        packages+=(podman buildah crun mmdebstrap containernetworking-plugins iptables)
        packages+=(golang-github-containernetworking-plugin-dnsname)
    fi
    [ ${#packages[@]} -eq 0 ] || install_packages "${packages[@]}"
fi

# === One environment for all generated projects ===
# Made from the templates' locks, before tests that run side by side ask for it.
if [ ${#selection[@]} -eq 0 ]; then
    .venv/bin/python -m tests.environments
fi

# TensorFlow traces on one core, so there is a process for each of them, and one more, as many tests
# wait for servers; `-n 0` for a debugger. One thread in each: those that wait for work spin, at the
# cost of the other processes.
export TF_NUM_INTRAOP_THREADS=1 TF_NUM_INTEROP_THREADS=1 OMP_NUM_THREADS=1 OPENBLAS_NUM_THREADS=1
# Long ones begin first (`minutes`); tests that share a server run in one process (`xdist_group`).
processes=$(($(getconf _NPROCESSORS_ONLN) + 1))
exec .venv/bin/python -m pytest --numprocesses "$processes" --dist loadgroup \
    --no-loadscope-reorder --durations 30 "${selection[@]}" "$@"
