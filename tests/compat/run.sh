#!/usr/bin/env bash
# Other clients and Apache's server against Coterie (make compat): kazoo's own tests, then zkCli, the
# C client and the data directories. Debian, root: it installs what it needs. What is skipped is
# listed with the reason, and the last line is pytest's own: of the leg that failed, if one did.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=.venv/bin/python
verb="make compat"

# shellcheck source=tests/compat/packages.sh
. tests/compat/packages.sh

install_python_parts() {
	[ -x "$python" ] || cannot "there is no $python: make setup"
	"$python" -m pip install -q --disable-pip-version-check --require-hashes \
		-r requirements/test.txt -r requirements/compat.txt ||
		cannot "cannot install requirements/compat.txt: is the package index to be had?"
}

# Nothing may be left out because it is not there.
all_is_there() {
	local reason
	reason=$("$python" -c '
from tests.compat.servers import SERVERS
print("; ".join(filter(None, (kind.missing() for kind in SERVERS.values()))))
') || cannot "tests/compat cannot be imported"
	[ -z "$reason" ] || cannot "$reason"
}

failed=""

leg() {
	local name=$1 said
	shift
	said=$(mktemp)
	printf '\n== %s\n' "$name"
	"$python" -m pytest -rs "$@" 2>&1 | tee "$said" || failed="$name:"$'\n'"$(grep . "$said" | tail -n 1)"
	rm -f "$said"
}

install_packages zookeeper libzookeeper-mt-dev gcc libc6-dev
install_python_parts
all_is_there
leg "kazoo's own tests" -c tests/compat/kazoo.ini -p tests.compat.kazoo_plugin --pyargs kazoo.tests
leg "kazoo's own tests, three members" -c tests/compat/kazoo.ini -p tests.compat.kazoo_plugin \
	--members 3 --pyargs kazoo.tests
leg "zkCli, the C client, Apache's server" -m compat tests/compat
if [ -n "$failed" ]; then
	printf '\n%s\n' "$failed"
	exit 1
fi
