#!/usr/bin/env bash
# The gateway of examples/ (make gateway-test): its parts, its pages in a browser, and all of it while
# its processes are killed; and the console of a server in a browser. Debian, root: it installs what it needs, Apache's server among it. What
# is skipped is listed with the reason, and the last line is pytest's own.
#
# A browser beside thirteen processes on two cores is late at times: what failed is run once more, and
# has to pass then.
set -euo pipefail
cd "$(dirname "$0")/../../.."

verb="make gateway-test"

# shellcheck source=tests/compat/packages.sh
. tests/compat/packages.sh

install_packages chromium chromium-driver zookeeper
run() { .venv/bin/python -m pytest -rs -m gateway tests/examples/gateway tests/console/test_pages.py "$@"; }

status=0
run "$@" || status=$?
[ "$status" -eq 1 ] || exit "$status"
printf '\n== once more, what failed\n'
run --last-failed --last-failed-no-failures none "$@"
