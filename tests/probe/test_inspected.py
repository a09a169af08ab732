"""What /proc tells of a server: the difference between being reached and believing to be."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as some

from buildkit.probe.inspected import Listening, parsed

HEADER = "  sl  local_address                         remote_address                        st tx_queue\n"


def test_addresses_are_read_as_the_kernel_writes_them() -> None:
    """Read the wrong way round 127.0.0.1 is a public address, and the finding is gone."""
    four = HEADER + "   0: 0100007F:1F90 00000000:0000 0A 0\n   1: 00000000:1388 00000000:0000 0A 0\n"
    assert parsed(four) == [Listening("127.0.0.1", 8080), Listening("0.0.0.0", 5000)]
    six = HEADER + "   0: 00000000000000000000000000000000:1F90 0:0 0A 0\n"
    six += "   1: 00000000000000000000000001000000:1F91 0:0 0A 0\n"
    six += "   2: 0000000000000000FFFF00000100007F:1F92 0:0 0A 0\n"
    assert parsed(six) == [Listening("::", 8080), Listening("::1", 8081), Listening("127.0.0.1", 8082)]
    assert [one.only_here for one in parsed(six)] == [False, True, True]


def test_connections_are_no_listeners() -> None:
    """A request under way from 127.0.0.1 says nothing about what the server listens on."""
    assert parsed(HEADER + "   0: 0100007F:1F90 0100007F:8000 01 0\n") == []


def test_a_table_of_nonsense_is_survived() -> None:
    """The words are where the kernel would write them, and mean nothing."""
    assert parsed(HEADER + "   0: nonsense:1F90 0:0 0A 0\n   1: 0100007F:zz 0:0 0A 0\n   2: 01:1 0:0 0A\n") == []


@given(some.text())
def test_whatever_a_container_prints_is_survived(table: str) -> None:
    """An image may bring a cat of its own that prints what it likes."""
    for one in parsed(table):
        assert one.port >= 0
