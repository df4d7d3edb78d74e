"""What the live page shows: composed from what is known, and what changed told in words."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from coterie.recipes.discovery import Instance
from examples.gateway.portal import picture
from examples.gateway.portal.picture import Job, Node, Picture, Process, Server


def _instance(id: str = "manager-1", **metadata: Any) -> Instance:
    return Instance("manager", "1.0", "127.0.0.1", 9000, "local", metadata, id)


def _nodes(*instances: Instance, processes: tuple[Process, ...] = ()) -> tuple[Node, ...]:
    return picture.nodes(instances, processes, {"manager": "manager-1"}, {"manager-1": "then"})


def _node(state: str = "serving", **changes: Any) -> Node:
    node = Node("manager-1", "manager", "local", "1.0", "127.0.0.1:9000", state, pid=7)
    return replace(node, **changes)


def _told(before: Picture, after: Picture) -> list[str]:
    return [text for text, _ in picture.differences(before, after)]


# Who is there


def test_a_component_is_what_it_says() -> None:
    (node,) = _nodes(_instance(state="draining", load=2, healthy=False))
    assert (node.name, node.kind, node.flavor) == ("manager-1", "manager", "local")
    assert (node.state, node.load, node.healthy) == ("draining", 2.0, False)
    assert (node.leader, node.since, node.alive) == (True, "then", None)


def test_who_says_nothing_of_itself_serves_and_is_well() -> None:
    (node,) = _nodes(_instance(load="much", healthy=None))
    assert (node.state, node.load, node.healthy) == ("serving", None, True)


def test_a_session_may_outlive_its_process() -> None:
    dead = Process("manager-1", "manager", pid=7, alive=False)
    (node,) = _nodes(_instance(state="serving", pid=7), processes=(dead,))
    assert (node.state, node.alive) == ("silent", False)


def test_what_a_successor_has_not_registered_is_not_its_own() -> None:
    successor = Process("manager-1", "manager", pid=8)
    (node,) = _nodes(_instance(state="serving", pid=7), processes=(successor,))
    assert node.state == "silent"
    (node,) = _nodes(_instance(state="serving", pid=8), processes=(successor,))
    assert node.state == "serving"


def test_a_program_that_tells_no_pid_lives_as_its_process_does() -> None:
    (node,) = _nodes(_instance(), processes=(Process("manager-1", "manager", pid=8),))
    assert node.state == "serving"


def test_processes_that_are_not_registered_are_shown() -> None:
    coming, gone = Process("api-1", "api"), Process("api-2", "api", alive=False)
    server = Process("coterie-1", "coterie")
    nodes = _nodes(processes=(coming, gone, server))
    assert [(node.name, node.state) for node in nodes] == [("api-1", "joining"), ("api-2", "down")]


def test_servers_have_the_names_of_their_processes() -> None:
    processes = (Process("coterie-1", "coterie", pid=3, address="127.0.0.1:2182"),)
    answers = {"127.0.0.1:2181": ("leader", "0x7"), "127.0.0.1:2182": ("follower", "0x7")}
    first, second = picture.servers(list(answers), answers, processes)
    assert (first.name, first.role, first.pid) == ("coterie-1", "follower", 3)
    assert (second.name, second.role, second.pid) == ("server-1", "leader", None)


def test_a_server_that_died_is_down_whatever_it_answered_last() -> None:
    dead = Process("coterie-1", "coterie", alive=False, address="a:1")
    (server,) = picture.servers(["a:1"], {"a:1": ("leader", "0x7")}, (dead,))
    assert server.role == "down"


# What others say


def test_srvr_tells_role_and_zxid() -> None:
    answer = "Zookeeper version: 3.8.0\nLatency min/avg/max: 0/0.0/0\nZxid: 0x100\nMode: leader\n"
    assert picture.read_srvr(answer) == ("leader", "0x100")
    silent = "This ZooKeeper instance is not currently serving requests\n"
    assert picture.read_srvr(silent) == ("down", "")


def test_nonsense_of_the_launcher_and_of_jobs_is_left_out() -> None:
    (one,) = picture.read_processes([{"name": "a", "pid": "x", "kind": None}, 7, {"pid": 1}, {}])
    assert (one.name, one.kind, one.pid, one.alive) == ("a", "", None, True)
    assert picture.read_processes({"error": {}}) == ()
    jobs = picture.read_jobs({"experiments": [{"id": "7", "attempts": None}, {}, "x"]})
    assert jobs == (Job("7", "", "", "", 0),)
    assert picture.read_jobs("nonsense") == ()


def test_the_contract_of_the_page() -> None:
    told = Picture((_node(),), (Server("coterie-1", "a:1"),), stale_s=2.04).as_json()
    assert told.keys() == {"components", "ensemble", "jobs", "counts", "leaders", "stale_s"}
    assert told["components"][0].keys() >= {"name", "kind", "flavor", "version", "address"}
    assert told["components"][0].keys() >= {"state", "leader", "load", "healthy", "since", "pid"}
    assert (told["ensemble"][0]["role"], told["stale_s"]) == ("down", 2.0)


# What happened


def test_a_death_is_noticed_and_healed() -> None:
    well, silent = Picture((_node(),)), Picture((_node("silent", alive=False),))
    joining = Picture((_node("joining", pid=8),))
    again = Picture((_node(pid=8),))
    assert _told(well, silent) == ["manager-1 died; its session is not over yet"]
    over = ["manager-1 is found by nobody any more: its session is over"]
    assert _told(silent, joining) == over
    joined = ["manager-1 joined, version 1.0", "healed: everyone serves"]
    assert _told(joining, again) == joined
    assert _told(silent, again) == joined
    assert _told(well, well) == []


def test_who_leaves_drains_and_is_not_well_is_told_of() -> None:
    well = Picture((_node(),))
    assert _told(well, Picture()) == ["manager-1 left"]
    assert _told(Picture(), well) == ["manager-1 joined, version 1.0"]
    assert _told(well, Picture((_node("draining"),))) == ["manager-1 drains"]
    assert _told(well, Picture((_node(healthy=False),))) == ["manager-1 says that it is not well"]
    assert _told(Picture((_node(healthy=False),)), well) == ["manager-1 is well again"]


def test_elections_are_told_of() -> None:
    one, none = Picture(leaders={"metadata": "m-1"}), Picture(leaders={"metadata": ""})
    two = Picture(leaders={"metadata": "m-2"})
    assert _told(Picture(), one) == ["m-1 leads metadata"]
    assert _told(one, two) == ["m-2 leads metadata, after m-1"]
    assert _told(one, none) == ["nobody leads metadata"]


def _ensemble(**roles: str) -> Picture:
    return Picture(ensemble=tuple(Server(name, name, role) for name, role in roles.items()))


def test_the_ensemble_is_told_of() -> None:
    well = _ensemble(c1="leader", c2="follower")
    lost = _ensemble(c1="down", c2="leader")
    back = _ensemble(c1="follower", c2="leader")
    assert _told(well, lost) == ["c1 is down (it led)", "c2 leads the ensemble"]
    assert "c1 is back as follower" in _told(lost, back)


def test_an_old_answer_is_told_of_once() -> None:
    fresh, old, older = Picture(), Picture(stale_s=1), Picture(stale_s=9)
    assert _told(fresh, old) == [
        "no server of the ensemble answers: the last good answer is shown"
    ]
    assert _told(old, older) == []
    assert _told(older, fresh) == ["the ensemble answers again"]


def _jobs(*jobs: Job) -> Picture:
    return Picture(jobs=jobs)


def test_a_job_that_is_taken_over_is_told_of() -> None:
    first = Job("7f", "align", "running", "m-1", 1)
    queued = Job("7f", "align", "queued", "", 1)
    second = Job("7f", "align", "assigned", "m-2", 2)
    moved = ["align 7f moved from m-1 to m-2, attempt 2"]
    assert _told(_jobs(first), _jobs(second)) == moved
    assert _told(_jobs(queued), _jobs(second)) == ["align 7f moved to m-2, attempt 2"]
    same = replace(second, manager="m-1")
    assert _told(_jobs(first), _jobs(same)) == ["align 7f moved from m-1 to m-1, attempt 2"]
    assert _told(_jobs(queued), _jobs(replace(first, manager="m-2"))) == []


def test_jobs_that_come_and_end_are_told_of_many_at_once() -> None:
    old = Job("0", "align", "done")
    many = [Job(str(n), "align", "queued") for n in range(1, 6)]
    assert _told(_jobs(), _jobs(*many)) == []
    assert _told(_jobs(old), _jobs(*many, old)) == ["5 jobs were submitted"]
    ended = [replace(job, state="failed" if job.id == "1" else "done") for job in many]
    assert _told(_jobs(*many), _jobs(*ended)) == ["align 1 is failed", "4 jobs are done"]
    assert _told(_jobs(*many[1:]), _jobs(*many[1:], old)) == []


def test_jobs_are_counted_by_state() -> None:
    jobs = [Job("1", "", "done"), Job("2", "", "done"), Job("3", "", "queued")]
    assert picture.count(jobs) == {"done": 2, "queued": 1}
