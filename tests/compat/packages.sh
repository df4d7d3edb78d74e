# Debian packages for a verb of the Makefile, which its script names in $verb; to be sourced.

cannot() {
	printf '%s: %s\n' "$verb" "$*" >&2
	exit 1
}

installed() {
	[ "$(dpkg-query -W -f '${db:Status-Status}' "$1" 2>/dev/null)" = installed ]
}

install_packages() {
	local missing=() package
	for package in "$@"; do
		installed "$package" || missing+=("$package")
	done
	[ ${#missing[@]} -gt 0 ] || return 0
	command -v apt-get >/dev/null || cannot "it needs ${missing[*]}, as Debian has them"
	[ "$(id -u)" = 0 ] || cannot "only root can install ${missing[*]}"
	export DEBIAN_FRONTEND=noninteractive
	echo "installing ${missing[*]}"
	apt-get -q -q update || cannot "the package lists cannot be had: is there a network?"
	apt-get -q -q install -y --no-install-recommends "${missing[@]}" >/dev/null ||
		cannot "cannot install ${missing[*]}"
}
