"""The manifests: names, ports, server lines and probes agree, and a server understands them."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from coterie.cli.serve import read
from coterie.config import Config, parse

yaml: Any = pytest.importorskip("yaml")

_TOP = Path(__file__).parent.parent.parent
_FILE = _TOP / "deploy/kubernetes/coterie.yaml"
_MANIFESTS: list[dict[str, Any]] = list(yaml.safe_load_all(_FILE.read_text(encoding="utf-8")))


def _one(kind: str, name: str = "coterie") -> Any:
    found = [m for m in _MANIFESTS if (m["kind"], m["metadata"]["name"]) == (kind, name)]
    assert len(found) == 1
    return found[0]


def _config() -> Config:
    config, notices = parse(_one("ConfigMap")["data"]["zoo.cfg"])
    assert notices == []
    return config


_SET = _one("StatefulSet")
_POD = _SET["spec"]["template"]["spec"]
_SERVER = _POD["containers"][0]
_PORTS = {each["name"]: each["containerPort"] for each in _SERVER["ports"]}


def test_every_pod_is_a_member_and_every_member_a_pod() -> None:
    ensemble = _config().ensemble
    assert ensemble is not None
    replicas = _SET["spec"]["replicas"]
    members = _one("Service", _SET["spec"]["serviceName"])
    assert members["spec"]["clusterIP"] == "None"
    name = _SET["metadata"]["name"]
    quorum, election = _PORTS["quorum"], _PORTS["election"]
    for number in range(1, replicas + 1):
        host = f"{name}-{number - 1}.{members['metadata']['name']}"
        seat = ensemble.seats[number]
        assert seat.quorum == ((host, quorum),)
        assert seat.election == ((host, election),)
    assert len(ensemble.seats) == replicas
    assert members["spec"]["publishNotReadyAddresses"], "nobody is ready before they have met"


def test_the_number_of_a_pod_is_that_of_its_member(tmp_path: Path) -> None:
    """What the init container runs, run here: a server finds itself in the zoo.cfg then."""
    text = _one("ConfigMap")["data"]["zoo.cfg"]
    data = tmp_path / "data"
    data.mkdir()
    file = tmp_path / "zoo.cfg"
    file.write_text(re.sub(r"(?m)^dataDir=.*$", f"dataDir={data}", text))
    shell, flag, script = _POD["initContainers"][0]["command"]
    script = script.replace("coterie init", f"{sys.executable} -m coterie init")
    script = script.replace("/conf/zoo.cfg", str(file))
    environment = {"HOSTNAME": "coterie-2", "PATH": "/usr/bin:/bin"}
    for _ in range(2):  # once for each start of the pod
        done = subprocess.run([shell, flag, script], env=environment, check=False, cwd=_TOP)
        assert done.returncode == 0
        assert (data / "myid").read_text().strip() == "3"
    config, _ = read(str(file))
    assert config.seat.quorum == (("coterie-2.coterie-members", 2888),)


def test_ports_are_those_of_the_zoo_cfg() -> None:
    config = _config()
    assert _PORTS["client"] == config.client_port
    assert _PORTS["http"] == config.admin_port_given
    assert config.admin_address == "0.0.0.0"
    assert config.admin_read_only_given, "nothing is changed over an open port"
    wanted = {port["targetPort"] for port in _one("Service")["spec"]["ports"]}
    assert wanted == {"client"}
    annotations = _SET["spec"]["template"]["metadata"]["annotations"]
    assert int(annotations["prometheus.io/port"]) == _PORTS["http"]


@pytest.mark.parametrize(
    ("probe", "path"),
    [("startupProbe", "/live"), ("livenessProbe", "/live"), ("readinessProbe", "/ready")],
)
def test_a_pod_without_a_quorum_gets_no_clients_and_lives(probe: str, path: str) -> None:
    assert _SERVER[probe]["httpGet"] == {"path": path, "port": "http"}


def test_all_select_the_same_pods() -> None:
    labels = _SET["spec"]["template"]["metadata"]["labels"]
    affinity = _POD["affinity"]["podAntiAffinity"]
    apart = affinity["requiredDuringSchedulingIgnoredDuringExecution"][0]
    budget = _one("PodDisruptionBudget")["spec"]
    for selector in (
        _SET["spec"]["selector"]["matchLabels"],
        _one("Service")["spec"]["selector"],
        _one("Service", "coterie-members")["spec"]["selector"],
        budget["selector"]["matchLabels"],
        apart["labelSelector"]["matchLabels"],
        _one("NetworkPolicy")["spec"]["podSelector"]["matchLabels"],
    ):
        assert selector == labels
    assert apart["topologyKey"] == "kubernetes.io/hostname"
    assert budget["maxUnavailable"] * 2 < _SET["spec"]["replicas"], "a quorum stays"


def test_data_and_file_are_where_the_server_looks() -> None:
    mounts = {mount["name"]: mount["mountPath"] for mount in _SERVER["volumeMounts"]}
    assert mounts["data"] == _config().data_dir
    assert _SERVER["args"] == ["serve", f"{mounts['conf']}/zoo.cfg"]
    assert _SET["spec"]["volumeClaimTemplates"][0]["metadata"]["name"] == "data"


def test_policies_name_ports_that_there_are() -> None:
    rules = _one("NetworkPolicy")["spec"]["ingress"]
    assert {port["port"] for rule in rules for port in rule["ports"]} == _PORTS.keys()
    restricted = [rule for rule in rules if "from" in rule]
    assert {port["port"] for rule in restricted for port in rule["ports"]} == {
        "quorum",
        "election",
    }
