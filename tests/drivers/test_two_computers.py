"""Two computers, for real: an orchestrator on one, a lent node and an owner on the other, and a network between them.

Each computer is a network namespace of its own, so loopback is two loopbacks, as it is in a house. Needs root and `ip`.
"""

import json
import os
import shutil
import subprocess
import sys
import time

import msgspec
import pytest

from propolis.runtime.invitation import from_text, to_text

NEAR, FAR = "192.168.77.5", "192.168.77.7"

pytestmark = [pytest.mark.root, pytest.mark.timeout(120)]


class Computer:
    """A network namespace, and commands in it."""

    def __init__(self, name, folder):
        self.name, self.folder = name, folder

    def words(self, *words, home="home"):
        inside = ["nsenter", f"--net=/run/netns/{self.name}"]
        return [*inside, sys.executable, "-m", "propolis", "--home", str(self.folder / home), *map(str, words)]

    def run(self, *words, home="home"):
        done = subprocess.run(
            self.words(*words, home=home), capture_output=True, text=True, timeout=60, cwd=self.folder, check=False
        )
        assert done.returncode == 0, f"{words}: {done.stdout}{done.stderr}"
        return json.loads(done.stdout) if "--json" in words else done.stdout.strip()


def ip(*words):
    done = subprocess.run(["ip", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"ip {' '.join(words)}: {done.stderr.strip()}")


@pytest.fixture
def computers(tmp_path):
    if os.geteuid():
        pytest.skip("only root makes network namespaces")
    for tool in ("ip", "nsenter"):
        if not shutil.which(tool):
            pytest.skip(f"there is no {tool} here (package iproute2 or util-linux)")
    names = [f"propolis-{os.getpid()}-{side}" for side in "ab"]
    made = []
    try:
        for name in names:
            ip("netns", "add", name)
            made.append(name)
            ip("-n", name, "link", "set", "lo", "up")
        ip("-n", names[0], "link", "add", "wire", "type", "veth", "peer", "name", "wire", "netns", names[1])
        for name, address in zip(names, (NEAR, FAR), strict=True):
            ip("-n", name, "address", "add", f"{address}/24", "dev", "wire")
            ip("-n", name, "link", "set", "wire", "up")
        folders = [tmp_path / side for side in "ab"]
        for folder in folders:
            folder.mkdir()
        yield [Computer(name, folder) for name, folder in zip(names, folders, strict=True)]
    finally:
        for name in made:
            subprocess.run(["ip", "netns", "del", name], capture_output=True, check=False)


def only(text, scheme):
    """Return the invitation with the addresses of one wire."""
    invitation = from_text(text)
    mine = tuple(address for address in invitation.addresses if address.startswith("ws://") == (scheme == "websocket"))
    assert all(NEAR in address for address in mine), "loopback is nothing to tell another computer"
    return to_text(msgspec.structs.replace(invitation, addresses=mine))


def works(computer, home):
    (computer.folder / "job.py").write_text("def twice(x):\n    return x * 2\n")
    (computer.folder / "in.json").write_text("[1, 2, 3]")
    words = ("run", "job.py:twice", "in.json", "--privacy", "trusted-lenders", "-o", "out.json", "--json")
    assert computer.run(*words, home=home)["state"] == "done"
    assert json.loads((computer.folder / "out.json").read_text()) == [2, 4, 6]


def up(computer):
    computer.run("up", "-d", "-n", 0, "--listen", f"{NEAR}:0", "--json")
    return json.loads((computer.folder / "home/orchestrator/orchestrator.json").read_text())


def until_up(computer, home):
    deadline = time.monotonic() + 20
    while [row["state"] for row in computer.run("nodes", "--json", home=home)] != ["up"]:
        assert time.monotonic() < deadline, "the node does not come back"
        time.sleep(0.2)


@pytest.mark.parametrize("scheme", ["iroh", "websocket"])
def test_a_node_and_an_owner_on_another_computer(computers, scheme):
    here, there = computers
    first = up(here)
    lent = None
    try:
        for_owner, for_node = (only(here.run("invite", role), scheme) for role in ("owner", "node"))
        command = there.words("node", "join", "-", "--name", "lent", "--slots", 1)
        lent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        lent.stdin.write(for_node + "\n")
        lent.stdin.close()
        assert "inside the fleet" in lent.stdout.readline()
        there.run("join", for_owner, home="owner")
        (row,) = there.run("nodes", "--json", home="owner")
        assert row["address"].startswith(FAR) if scheme == "iroh" else row["address"] == ""
        works(there, "owner")
        here.run("down")
        assert up(here) == first, "it listens where it did"
        until_up(there, "owner")
        works(there, "owner")
    finally:
        if lent is not None:
            lent.terminate()
            lent.wait(20)
        here.run("down")


def without_udp(computer):
    """Drop every UDP packet this computer would send, as a firewall does: without a word to anybody."""
    ip("-n", computer.name, "rule", "add", "pref", "5", "ipproto", "udp", "blackhole")


def test_where_udp_is_dropped_a_member_comes_by_websocket_by_itself(computers):
    here, there = computers
    up(here)
    lent = None
    try:
        for_owner, for_node = (here.run("invite", role) for role in ("owner", "node"))
        assert {"://" in address for address in from_text(for_node).addresses} == {True, False}
        without_udp(here)
        command = there.words("node", "join", "-", "--name", "lent", "--slots", 1)
        with (there.folder / "node.log").open("wb") as log:
            lent = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True)
        lent.stdin.write(for_node + "\n")
        lent.stdin.close()
        assert "inside the fleet" in lent.stdout.readline()
        assert "reached at ws://" in (there.folder / "node.log").read_text()
        there.run("join", for_owner, home="owner")
        works(there, "owner")
    finally:
        if lent is not None:
            lent.terminate()
            lent.wait(20)
        here.run("down")
