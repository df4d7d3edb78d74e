"""`coterie certs`: what it makes lets servers and clients know each other."""

from __future__ import annotations

import ssl
import stat
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from coterie.cli.certs import certs
from coterie.config import parse
from coterie.system.tls import TLSFiles, client_context, server_context
from tests.system.talk import talk


def _certs(*arguments: object) -> Result:
    return CliRunner().invoke(certs, [str(argument) for argument in arguments])


def _made(tmp_path: Path, *arguments: object) -> Path:
    done = _certs(tmp_path / "tls", *arguments)
    assert done.exit_code == 0, done.output
    return tmp_path / "tls"


def test_servers_and_clients_know_each_other(tmp_path: Path) -> None:
    made = _made(tmp_path, "--hosts", "127.0.0.1,zk.example+10.0.0.1", "--clients", "ann")
    ca = str(made / "ca.pem")
    ann = client_context(TLSFiles(certificate=str(made / "ann.pem"), ca=ca))
    by_name = server_context(TLSFiles(certificate=str(made / "zk.example.pem"), ca=ca))
    talk(ann, by_name, "zk.example")
    talk(ann, by_name, "10.0.0.1")
    by_address = server_context(
        TLSFiles(certificate=str(made / "127.0.0.1.p12"), password="changeit", ca=ca)
    )
    talk(ann, by_address, "127.0.0.1")
    with pytest.raises(ssl.SSLCertVerificationError):
        talk(ann, by_address, "zk.example")
    # A member dials others with what it listens with; a client cannot pose as a server.
    member = client_context(TLSFiles(certificate=str(made / "127.0.0.1.pem"), ca=ca))
    talk(member, by_name, "zk.example")
    posing = server_context(TLSFiles(certificate=str(made / "ann.pem"), ca=ca))
    with pytest.raises(ssl.SSLCertVerificationError):
        talk(ann, posing, "ann")


def test_the_lines_for_zoo_cfg_are_lines_of_a_zoo_cfg(tmp_path: Path) -> None:
    done = _certs(tmp_path / "tls", "--hosts", "127.0.0.1")
    lines = "\n".join(
        line for line in done.output.splitlines() if "=" in line and "coterie ls" not in line
    )
    config, _ = parse(f"dataDir=/data\nclientPort=0\nclientPortAddress=::\n{lines}\n")
    assert config.client_key_store == str(tmp_path / "tls" / "127.0.0.1.pem")
    assert config.client_trust_store == config.quorum_trust_store == str(tmp_path / "tls/ca.pem")
    assert config.quorum_tls
    assert config.secure_port == 2281


def test_keys_are_for_their_owner_only(tmp_path: Path) -> None:
    made = _made(tmp_path, "--hosts", "127.0.0.1")
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in made.iterdir()}
    assert modes.pop("ca.pem") & 0o077 == 0o044
    assert set(modes.values()) == {0o600}
    assert set(modes) == {"ca.key", "127.0.0.1.pem", "127.0.0.1.p12", "client.pem", "client.p12"}


def test_what_is_there_stays_unless_it_is_to_be_renewed(tmp_path: Path) -> None:
    made = _made(tmp_path, "--hosts", "a.example")
    before = {path.name: path.read_bytes() for path in made.iterdir()}
    assert "all of it was there" in _certs(made, "--hosts", "a.example").output
    _made(tmp_path, "--hosts", "a.example,b.example")
    assert before.items() <= {path.name: path.read_bytes() for path in made.iterdir()}.items()
    _made(tmp_path, "--hosts", "a.example", "--renew")
    assert (made / "ca.pem").read_bytes() == before["ca.pem"]
    assert (made / "a.example.pem").read_bytes() != before["a.example.pem"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--hosts", "a/b"], "'a/b' cannot be the name of a file"),
        (["--hosts", "ca"], "'ca' cannot be the name of a file"),
        (["--hosts", "a", "--clients", "a"], "a cannot be a host and a client"),
        (["--hosts", "x" * 80], "is too long for a certificate"),
    ],
)
def test_what_cannot_be_made_is_one_line(tmp_path: Path, arguments: list[str], said: str) -> None:
    done = _certs(tmp_path, *arguments)
    assert done.exit_code in (1, 2)
    assert said in done.output
    assert "Traceback" not in done.output


def test_a_damaged_ca_is_told(tmp_path: Path) -> None:
    made = _made(tmp_path, "--hosts", "a.example")
    (made / "ca.key").write_text("nothing")
    done = _certs(made, "--hosts", "b.example")
    assert done.exit_code == 1
    assert "are no CA of this command's" in done.output


def test_a_missing_library_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "coterie.cli.issuing", raising=False)
    monkeypatch.setitem(sys.modules, "cryptography.hazmat.primitives.asymmetric", None)
    done = _certs(tmp_path, "--hosts", "a.example")
    assert done.exit_code == 1
    assert done.output == (
        "coterie certs: it takes cryptography, which is not installed: pip install coterie[tls]\n"
    )
