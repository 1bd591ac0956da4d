"""The workload as a server, and datagrams."""

from __future__ import annotations

import errno
import os
import socket

import pytest


def serve_two(root):
    """Accept two connections on a port that is written to a file; answer each."""
    got = []
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with open(f"{root}/port.tmp", "w") as file:
            file.write(str(listener.getsockname()[1]))
        os.rename(f"{root}/port.tmp", f"{root}/port")
        while len(got) < 2:
            try:
                connection, _ = listener.accept()
            except OSError as error:
                got.append(error.errno)
                continue
            with connection:
                connection.sendall(b"hello")
                got.append("served")
    return got


def client(root):
    """Two connections from outside the run, in another process; how each ended goes into a file."""
    pid = os.fork()
    if pid:
        return pid
    ends = []
    try:
        while not os.path.exists(f"{root}/port"):
            os.sched_yield()
        port = int(open(f"{root}/port").read())  # noqa: SIM115 - the process ends
        for _ in range(2):
            try:
                with socket.create_connection(("127.0.0.1", port), 5) as sock:
                    ends.append(sock.recv(10).decode())
            except OSError as error:
                ends.append(errno.errorcode[error.errno or 0])
        with open(f"{root}.ends", "w") as file:
            file.write(" ".join(ends))
    finally:
        os._exit(0)


def served(talk, root, schedule="", record=False):
    """Run the server with its client; what both saw."""
    if os.path.exists(f"{root}/port"):
        os.unlink(f"{root}/port")
    pid = client(root)
    try:
        ran = talk(lambda: serve_two(root), schedule, record=record)
        os.waitpid(pid, 0)
        with open(f"{root}.ends") as file:
            return ran, file.read()
    finally:
        os.unlink(f"{root}.ends")


def test_the_calls_of_a_server_are_operations(talk, root):
    """Socket, bind, listen and each accept; a port that the kernel chose is that of the others."""
    ran, ends = served(talk, root, record=True)
    assert (ran.value, ends) == (["served", "served"], "hello hello")
    calls = [one.call for one in ran.trace if one.call in ("socket", "bind", "listen", "accept")]
    assert calls == ["socket", "bind", "listen", "accept", "accept"]
    assert next(one for one in ran.trace if one.call == "bind").target == "127.0.0.1:0"


def test_a_connection_that_was_given_up_is_off_the_queue(talk, root):
    """ECONNABORTED: the client sees a reset, and the next accept gets the next connection."""
    point = "accept(127.0.0.1:*)#1"
    ran, ends = served(talk, root, f"{point}=ECONNABORTED")
    assert ran.value == [errno.ECONNABORTED, "served"]
    assert (ends, len(ran.receipts)) == ("ECONNRESET hello", 1)


def test_no_descriptor_is_left(talk, root):
    """EMFILE leaves the connection where it is."""
    ran, ends = served(talk, root, "accept(127.0.0.1:*)#1=EMFILE")
    assert ran.value == [errno.EMFILE, "served"]
    assert ends.split()[0] == "hello"


@pytest.mark.parametrize("fault", ["EADDRINUSE", "EACCES"])
def test_a_port_is_taken(talk, root, fault):
    """A bind that fails ends this server before it is ready."""
    ran = talk(lambda: serve_two(root), f"bind(127.0.0.1:0)#1={fault}")
    assert isinstance(ran.error, OSError)
    assert (ran.error.errno, len(ran.receipts)) == (getattr(errno, fault), 1)


@pytest.mark.parametrize(
    ("family", "host", "to"),
    [
        (socket.AF_INET, "127.0.0.1", "127.0.0.1"),
        (socket.AF_INET6, "::1", "::1"),
        (socket.AF_INET, "127.0.0.1", "::ffff:127.0.0.1"),
    ],
)
def test_a_server_sees_the_address_that_its_client_has(talk, family, host, to):
    """What accept returns is the client's getsockname, as without chaoskit; options are as they were."""

    def work():
        seen = []
        with socket.create_server((host, 0), family=family) as listener:
            for _ in range(20):
                client = socket.socket(socket.AF_INET6 if ":" in to else socket.AF_INET)
                client.connect((to, listener.getsockname()[1]))
                connection, address = listener.accept()
                option = client.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR)
                seen.append((address[1], client.getsockname()[1], connection.getpeername()[1], option))
                connection.close()
                client.close()
        return seen

    for accepted, own, peer, option in talk(work).value:
        assert accepted == own == peer
        assert option == 0


def test_an_address_that_a_client_has_chosen_stays(talk):
    """A client that was bound before it connects keeps that address; its server sees the relay's."""

    def work():
        with socket.create_server(("127.0.0.1", 0)) as listener, socket.socket() as client:
            client.bind(("127.0.0.1", 0))
            before = client.getsockname()
            client.connect(listener.getsockname())
            listener.accept()[0].close()
            return before == client.getsockname()

    assert talk(work).value is True


def test_datagrams(talk):
    """They are operations, get lost, arrive twice, or find no way."""
    with socket.socket(type=socket.SOCK_DGRAM) as receiver:
        receiver.bind(("127.0.0.1", 0))
        receiver.settimeout(0.2)
        port = receiver.getsockname()[1]

        def work():
            with socket.socket(type=socket.SOCK_DGRAM) as sock:
                return sock.sendto(b"abc", ("127.0.0.1", port))

        def received():
            got = []
            try:
                while True:
                    got.append(receiver.recv(10))
            except TimeoutError:
                return got

        point = f"sendto(127.0.0.1:{port})#1"
        assert point in [str(one).partition(" ")[0] for one in talk(work, record=True).trace]
        assert received() == [b"abc"]
        for fault, arrived in (("lost", []), ("twice", [b"abc", b"abc"])):
            ran = talk(work, f"{point}={fault}")
            assert (ran.value, len(ran.receipts)) == (3, 1)
            assert received() == arrived
        assert talk(work, f"{point}=ENETUNREACH").error.errno == errno.ENETUNREACH
