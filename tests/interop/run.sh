#!/usr/bin/env bash
# Ensembles of Coterie and Apache ZooKeeper (make interop). Debian, root: it installs what it needs,
# iproute2 among it, with which `make slow` cuts members off from each other. What is skipped is
# listed with the reason, and the last line is pytest's own.
set -euo pipefail
cd "$(dirname "$0")/../.."

verb="make interop"

# shellcheck source=tests/compat/packages.sh
. tests/compat/packages.sh

install_packages zookeeper iproute2
exec .venv/bin/python -m pytest -rs -m interop tests/interop "$@"
