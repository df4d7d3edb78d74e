"""The settings of who comes in: users of SASL, what is demanded of clients and of members, audit.

Rules: they are part of `Config` (`settings.py`) and are written as Apache writes them, but for
the files: Apache's server has those from the command line of its JVM.
"""

from dataclasses import dataclass
from typing import Annotated

from coterie.kerberos_settings import KerberosConfig
from coterie.kinds import LIMIT_KIB, POSITIVE, SCHEMES, TEXT, TRUE_FALSE, Setting


@dataclass(frozen=True, slots=True, kw_only=True)
class AccessConfig(KerberosConfig):
    """How clients prove who they are, and whether they have to."""

    sasl_jaas_file: Annotated[
        str | None,
        Setting(
            "sasl.jaasFile",
            TEXT,
            "a JAAS file with the users of SASL, as Apache's server has it by "
            "java.security.auth.login.config; unset: no JAAS file",
        ),
    ] = None
    sasl_jaas_section: Annotated[
        str, Setting("sasl.serverconfig", TEXT, "which section of the JAAS file counts")
    ] = "Server"
    sasl_users_file: Annotated[
        str | None,
        Setting(
            "sasl.usersFile",
            TEXT,
            "a file with the users of SASL, `user:password` on each line, in place of a JAAS file",
        ),
    ] = None
    sasl_super_user: Annotated[
        str | None,
        Setting("superUser", TEXT, "the user of SASL who is above every ACL; unset: nobody"),
    ] = None
    sasl_super_password: Annotated[
        str | None,
        Setting(
            "SASLAuthenticationProvider.superPassword",
            TEXT,
            "the password of the user `super`, if the file of users has that name",
        ),
    ] = None
    sasl_any_user: Annotated[
        str | None,
        Setting(
            "letAnySaslUserDoX",
            TEXT,
            "an id of the scheme sasl that stands in ACLs for every user; unset: none does",
        ),
    ] = None
    sasl_failed_allowed: Annotated[
        bool,
        Setting(
            "allowSaslFailedClients",
            TRUE_FALSE,
            "whether who fails to authenticate by SASL may stay, as nobody",
        ),
    ] = False
    sasl_demanded: Annotated[
        bool,
        Setting(
            "sessionRequireClientSASLAuth",
            TRUE_FALSE,
            "whether only clients are served that have authenticated by SASL",
        ),
    ] = False
    auth_enforced: Annotated[
        bool,
        Setting(
            "enforce.auth.enabled",
            TRUE_FALSE,
            "whether only clients are served that have an identity of one of enforce.auth.schemes",
        ),
    ] = False
    auth_schemes: Annotated[
        tuple[str, ...] | None,
        Setting(
            "enforce.auth.schemes", SCHEMES, "these schemes, with commas between them; unset: none"
        ),
    ] = None
    eager_acl_check: Annotated[
        bool,
        Setting(
            "enableEagerACLCheck",
            TRUE_FALSE,
            "whether the member that a client has refuses writes that its ACLs forbid, before the "
            "leader is asked",
            of_ensemble=True,
        ),
    ] = False

    quorum_sasl: Annotated[
        bool,
        Setting(
            "quorum.auth.enableSasl",
            TRUE_FALSE,
            "whether members know SASL: those that prove themselves to this one are heard",
            of_ensemble=True,
        ),
    ] = False
    quorum_sasl_dials: Annotated[
        bool,
        Setting(
            "quorum.auth.learnerRequireSasl",
            TRUE_FALSE,
            "whether this member proves itself by SASL to those that it dials",
            of_ensemble=True,
        ),
    ] = False
    quorum_sasl_demanded: Annotated[
        bool,
        Setting(
            "quorum.auth.serverRequireSasl",
            TRUE_FALSE,
            "whether only members are heard that prove themselves by SASL",
            of_ensemble=True,
        ),
    ] = False
    quorum_sasl_learner_section: Annotated[
        str,
        Setting(
            "quorum.auth.learner.saslLoginContext",
            TEXT,
            "the section of the JAAS file that says as whom this member proves itself",
            of_ensemble=True,
        ),
    ] = "QuorumLearner"
    quorum_sasl_server_section: Annotated[
        str,
        Setting(
            "quorum.auth.server.saslLoginContext",
            TEXT,
            "the section of the JAAS file that has the users that members prove to be",
            of_ensemble=True,
        ),
    ] = "QuorumServer"
    quorum_jaas_file: Annotated[
        str | None,
        Setting(
            "quorum.auth.jaasFile",
            TEXT,
            "the JAAS file with these sections; unset: that of sasl.jaasFile",
            of_ensemble=True,
        ),
    ] = None

    audit_enabled: Annotated[
        bool, Setting("audit.enable", TRUE_FALSE, "whether every change has a line in a log")
    ] = False
    audit_file_given: Annotated[
        str | None,
        Setting("audit.file", TEXT, "the file of that log; unset: audit.jsonl in dataDir"),
    ] = None
    audit_bytes_max: Annotated[
        int,
        Setting(
            "audit.sizeLimitInKb",
            LIMIT_KIB,
            "the file is followed by a new one when it would be larger (KiB); 0: never",
        ),
    ] = 64 * 2**20
    audit_files_kept: Annotated[
        int, Setting("audit.filesKept", POSITIVE, "how many older files are kept")
    ] = 10

    @property
    def has_users(self) -> bool:
        """Whether clients may authenticate by SASL."""
        files = self.sasl_jaas_file, self.sasl_users_file, self.sasl_keytab
        return any(each is not None for each in files)

    @property
    def demanded_schemes(self) -> tuple[str, ...]:
        """Schemes of which a client has to have an identity; none: it need not have any."""
        if self.sasl_demanded:
            return ("sasl",)
        return (self.auth_schemes or ()) if self.auth_enforced else ()
