#!/usr/bin/env bash
# Kerberos with a KDC of its own on loopback (make kerberos): our client, Java's shell and kazoo come
# in to our server and to Apache's. Debian, root: it installs what it needs, and compiles the Python
# packages of requirements/kerberos.txt, which takes two minutes the first time.
set -euo pipefail
cd "$(dirname "$0")/../.."

python=.venv/bin/python
verb="make kerberos"

# shellcheck source=tests/compat/packages.sh
. tests/compat/packages.sh

install_packages zookeeper krb5-kdc krb5-admin-server krb5-user libkrb5-dev gcc libc6-dev
"$python" -m pip install -q --disable-pip-version-check --require-hashes \
	-r requirements/kerberos.txt ||
	cannot "cannot install requirements/kerberos.txt: is the package index to be had?"
"$python" -c 'import gssapi, kerberos' || cannot "the packages cannot be imported"
exec "$python" -m pytest -rs -m compat tests/kerberos "$@"
