"""Both servers with a key of Kerberos: Apache's by JAAS, ours by that or by keys of its own."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from tests.compat.servers import Apache, Coterie, Settings
from tests.kerberos.kdc import KDC, REALM, SERVICE

PRINCIPAL: Final = f"{SERVICE}@{REALM}"

_MODULE: Final = "com.sun.security.auth.module.Krb5LoginModule"
_PROVIDER: Final = "org.apache.zookeeper.server.auth.SASLAuthenticationProvider"


def jaas(file: Path, section: str, keytab: Path, principal: str) -> Path:
    """A JAAS file by which Java has the key of a principal."""
    file.write_text(
        f"{section} {{\n  {_MODULE} required useKeyTab=true storeKey=true doNotPrompt=true\n"
        f'  useTicketCache=false keyTab="{keytab}" principal="{principal}";\n}};\n'
    )
    return file


def java_options(kdc: KDC, jaas: Path) -> list[str]:
    return [
        f"-Djava.security.krb5.conf={kdc.config}",
        f"-Djava.security.auth.login.config={jaas}",
    ]


class ApacheWithKey(Apache):
    """Apache's server."""

    def __init__(
        self, directory: Path, kdc: KDC, keytab: Path, settings: Settings | None = None
    ) -> None:
        super().__init__(directory, {"authProvider.1": _PROVIDER, **(settings or {})})
        file = jaas(directory / "jaas.conf", "Server", keytab, PRINCIPAL)
        self._options = java_options(kdc, file)

    def command(self) -> list[str]:
        java, *rest = super().command()
        return [java, *self._options, *rest]


class CoterieWithKey(Coterie):
    """Ours, by keys of its own."""

    def __init__(
        self, directory: Path, kdc: KDC, keytab: Path, settings: Settings | None = None
    ) -> None:
        own = {"sasl.keytab": str(keytab), "sasl.principal": PRINCIPAL}
        super().__init__(directory, {**own, **(settings or {})})


class CoterieWithJaas(Coterie):
    """Ours, by the file of Apache's."""

    def __init__(
        self, directory: Path, kdc: KDC, keytab: Path, settings: Settings | None = None
    ) -> None:
        super().__init__(directory, {"authProvider.1": _PROVIDER, **(settings or {})})
        file = jaas(directory / "jaas.conf", "Server", keytab, PRINCIPAL)
        self.settings["sasl.jaasFile"] = str(file)


Kind = type[ApacheWithKey] | type[CoterieWithKey] | type[CoterieWithJaas]
WithKey = ApacheWithKey | CoterieWithKey | CoterieWithJaas
