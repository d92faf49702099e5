"""Which addresses told by a peer are dialled, and what counts as one source."""

import pytest

from propolis.terms.address import dialable, parted, source

FAR_SEEN, HERE, LINK = ("203.0.113.9:1",), ("127.0.0.1:1",), ("169.254.3.4:1",)

NEVER = [
    "ws://10.0.0.1:80", "wss://10.0.0.1:443", "http://10.0.0.1:80", "unix:///x:1", "localhost:80", "example.org:80",
    "0.0.0.0:80", "0.1.2.3:80", "255.255.255.255:80", "240.0.0.1:80", "224.0.0.1:80", "[ff02::1]:80", "[::]:80",
    "[fe80::1%eth0]:80", "[2002:7f00:1::1]:80", "[2001:0:1::1]:80", "[64:ff9b::7f00:1]:80", "[::ffff:0.0.0.0]:80",
    "10.0.0.1", "10.0.0.1:", "10.0.0.1:0", "10.0.0.1:65536", "10.0.0.1:-1", "10.0.0.1:8 0", "10.0.0.1:٣", "10.0.0.1:1/x",
    "10.0.0.1@evil:80", "[10.0.0.1]:80", "::1:80", "2001:db8::1:80", "[::1:80", "010.0.0.1:80", "10.1:80", "167772161:80", "",
    ":", ":80", "10.0.0.1:80\r\nHost: x", "10.0.0.1:0000080", "[]:80",
]  # fmt: skip


@pytest.mark.parametrize("text", NEVER)
@pytest.mark.parametrize("seen", [FAR_SEEN, HERE, LINK, ()], ids=["far", "loopback", "link", "unseen"])
def test_never_dialled(text, seen):
    assert dialable([text], seen) == ()


@pytest.mark.parametrize("text", ["127.0.0.1:80", "127.8.8.8:80", "[::1]:80", "[::ffff:127.0.0.1]:80"])
def test_loopback_is_dialled_for_a_teller_at_loopback_alone(text):
    assert dialable([text], FAR_SEEN) == dialable([text], LINK) == dialable([text], ()) == ()
    assert dialable([text], ("hub.example.org:80",)) == ()
    assert len(dialable([text], HERE)) == len(dialable([text], ("ws://[::1]:80",))) == 1


@pytest.mark.parametrize("text", ["169.254.169.254:80", "[fe80::1]:80"])
def test_link_local_is_dialled_for_a_teller_on_the_link_alone(text):
    assert dialable([text], FAR_SEEN) == dialable([text], HERE) == ()
    assert len(dialable([text], LINK)) == 1


def test_others_are_dialled_as_they_are_written_plainly_and_once():
    told = ["192.168.1.7:4000", "[2001:db8:0:0::1]:9", "[::ffff:192.168.1.7]:4000", "192.168.1.7:4000", "[fd00::1]:9"]
    assert dialable(told, ()) == ("192.168.1.7:4000", "[2001:db8::1]:9", "[fd00::1]:9")


def test_sources():
    assert source("10.0.0.1:5") == source("[::ffff:10.0.0.1]:6") == "10.0.0.1"
    assert source("[2001:db8::1]:5") == source("[2001:db8::ffff:0:0:2]:5") != source("[2001:db8:0:1::1]:5")
    assert source("[fe80::1%eth0]:5") == source("[fe80::2%eth0]:6") == source("[fe80::3]:7")
    assert source("?") == "?"
    assert source("somewhere:1") == source("somewhere:2"), "a port makes nobody another one"
    assert parted("10.0.0.1:x") is None
