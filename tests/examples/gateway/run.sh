#!/usr/bin/env bash
# The gateway of examples/ (make gateway-test): its parts, its pages in a browser, and all of it while
# its processes are killed. Debian, root: it installs what it needs, Apache's server among it. What
# is skipped is listed with the reason, and the last line is pytest's own.
set -euo pipefail
cd "$(dirname "$0")/../../.."

verb="make gateway-test"

# shellcheck source=tests/compat/packages.sh
. tests/compat/packages.sh

install_packages chromium chromium-driver zookeeper
exec .venv/bin/python -m pytest -rs -m gateway tests/examples/gateway "$@"
