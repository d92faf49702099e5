"""The gate: always a way in, and whose handshake makes room for it."""

from propolis.adapters.wire.gate import MEMBER_SHARE, Gate

ONE, OTHER = b"1" * 32, b"2" * 32


class Door:
    """A gate, and who was cut at it."""

    def __init__(self, room, per_source=1000):
        self.gate, self.cut = Gate(room, per_source), []

    def come(self, name, address):
        return self.gate.enter(address, lambda: self.cut.append(name))


def test_the_oldest_goes_when_all_sources_hold_the_same():
    door = Door(3)
    for number in range(5):
        door.come(number, f"10.0.0.{number}:9")
    assert door.cut == [0, 1]
    assert len(door.gate) == 3


def test_the_source_that_holds_most_makes_room():
    door = Door(4)
    door.come("honest", "10.0.0.1:1")
    for number in range(3):
        door.come(number, f"10.0.0.2:{number + 1}")
    for number in range(4):
        door.come(f"late {number}", f"10.0.1.{number}:1")
    assert door.cut[:2] == [0, 1], "two of the greedy one's went first"
    assert "late 3" not in door.cut


def test_a_source_has_a_bound_of_its_own_and_pays_it_itself():
    door = Door(100, per_source=2)
    for number in range(4):
        door.come(number, f"10.0.0.2:{number + 1}")
    assert door.cut == [0, 1]


def test_an_ipv6_64_is_one_source_and_ipv4_inside_ipv6_is_ipv4():
    door = Door(100, per_source=2)
    for number in range(1, 4):
        door.come(number, f"[2001:db8::{number}]:9")
    door.come("v4", "[::ffff:10.0.0.1]:9")
    door.come("v4 too", "10.0.0.1:10")
    door.come("v4 again", "10.0.0.1:11")
    assert door.cut == [1, "v4"]


def test_members_sources_keep_their_room():
    door = Door(2 * MEMBER_SHARE)
    door.gate.remember(ONE, "10.0.0.1:7")
    for number in range(MEMBER_SHARE):
        door.come(f"member {number}", "10.0.0.1:7")
    for number in range(200):
        door.come(number, f"10.1.{number}.1:7")
    assert not any("member" in str(name) for name in door.cut)
    door.come("one too many", "10.0.0.1:7")
    assert door.cut[-1] == "member 0", "beyond its share it counts like any other"


def test_a_member_is_remembered_at_its_latest_source_alone():
    door = Door(2)
    door.gate.remember(ONE, "10.0.0.1:7")
    door.gate.remember(ONE, "10.0.0.2:7")
    door.come("left", "10.0.0.1:1")
    door.come("kept", "10.0.0.2:1")
    for number in range(5):
        door.come(number, f"10.1.{number}.1:7")
    assert door.cut[0] == "left"
    assert "kept" not in door.cut


def test_who_left_is_not_counted():
    door = Door(2)
    for number in range(50):
        door.gate.leave(door.come(number, f"10.0.0.{number}:1"))
    assert door.cut == []
    assert len(door.gate) == 0
    ticket = door.come("twice", "10.0.0.1:1")
    door.gate.leave(ticket)
    door.gate.leave(ticket)
    assert len(door.gate) == 0
