"""Connections through the relay: what is seen, what strikes, and that nothing shows of it."""

from __future__ import annotations

import array
import errno
import fcntl
import os
import select
import signal
import socket
import ssl
import struct
import termios

import pytest

from chaoskit.inject.base import Ran


def ask(*questions: bytes, port: int = 5432, timeout: float | None = 2.0) -> list[bytes]:
    """Ask line by line over one connection."""
    with socket.create_connection(("db.example", port), timeout) as sock:
        answers = []
        for question in questions:
            sock.sendall(question)
            answers.append(sock.recv(65536))
        return answers


def names(ran: Ran, *calls: str) -> list[str]:
    """The operations of these families, as text without their results."""
    return [f"{one.call}({one.target})#{one.ordinal}" for one in ran.trace if one.call in calls]


def test_turns_are_operations_in_order_with_files(talk, lines, root):
    """Each exchange is one operation of its peer, in its place among the calls on files."""

    def work():
        with socket.create_connection(("db.example", 5432)) as sock:
            for number in range(3):
                sock.sendall(b"q\n")
                sock.recv(100)
                with open(f"{root}/f{number}", "w") as file:
                    file.write("x")

    ran = talk(work, record=True)
    expected = ["connect(db.example:5432)#1"]
    for number in range(3):
        expected += [f"exchange(db.example)#{number + 1}", f"open(f{number})#1", f"write(f{number})#1"]
    assert names(ran, "connect", "exchange", "open", "write") == expected
    exchange = next(one for one in ran.trace if one.call == "exchange")
    assert (exchange.network.sent, exchange.network.received, exchange.result) == (2, 2, 2)
    assert exchange.site is not None
    assert "work" in str(exchange.stack)


def test_order_of_three_hundred_mixed_operations(talk, lines, root):
    """A request that is not waited for still stands before the call on a file that follows it."""

    def work():
        with socket.create_connection(("db.example", 5432)) as sock, open(f"{root}/f", "wb", 0) as file:
            for _ in range(150):
                sock.sendall(b"q\n")
                file.write(b"x")
                sock.recv(100)

    ran = talk(work, record=True)
    assert [one.call for one in ran.trace if one.call in ("exchange", "write")] == ["exchange", "write"] * 150


@pytest.mark.parametrize(
    ("fault", "answers", "number"),
    [
        ("reset[request]", 0, errno.ECONNRESET),
        ("reset[0]", 1, errno.ECONNRESET),
        ("silent[0]", 1, None),
    ],
)
def test_an_exchange_fails_on_one_side_or_the_other(talk, lines, fault, answers, number):
    """With ``request`` the other side has got nothing, with 0 it has done everything."""
    ran = talk(lambda: ask(b"one\n", b"two\n", timeout=0.3), f"exchange(db.example)#2={fault}")
    assert len(ran.receipts) == 1
    assert [one.body for one in ran.requests] == [b"one\n", b"two\n"][: 1 + answers]
    assert isinstance(ran.error, OSError)
    assert isinstance(ran.error, TimeoutError) if number is None else ran.error.errno == number


@pytest.mark.parametrize("count", [0, 1, 3])
def test_an_answer_ends_after_exactly_so_many_bytes(talk, lines, count):
    """What was let through is read in full, and then the end, or the reset, comes."""

    def work():
        with socket.create_connection(("db.example", 5432)) as sock:
            sock.sendall(b"abc\n")
            got = b""
            try:
                while data := sock.recv(1):
                    got += data
            except ConnectionResetError:
                return got, "reset"
            return got, "end"

    assert talk(work, f"exchange(db.example)#1=eof[{count}]").value == (b"ABC\n"[:count], "end")
    assert talk(work, f"exchange(db.example)#1=reset[{count}]").value == (b"ABC\n"[:count], "reset")


def test_a_reset_takes_nothing_away_that_was_sent_before(talk, peers):
    """A long answer that the client reads slowly arrives up to the byte at which the reset comes."""
    peers.add("db.example", None, _flood)

    def work():
        with socket.create_connection(("db.example", 1)) as sock:
            sock.sendall(b"q")
            got = 0
            try:
                while data := sock.recv(1000):
                    got += len(data)
            except ConnectionResetError:
                return got

    ran = talk(work, "exchange(db.example)#1=reset[700000]")
    assert (ran.value, len(ran.receipts)) == (700_000, 1)


def _flood(port):
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = listener.accept()
        with connection:
            if connection.recv(1):
                connection.sendall(bytes(1_000_000))


def test_an_answer_that_is_too_short_for_its_cut_is_not_injected(talk, lines):
    """Without the effect there is no receipt."""
    assert talk(lambda: ask(b"abc\n"), "exchange(db.example)#1=reset[100]").receipts == ()


def test_a_flipped_bit_and_slices(talk, lines):
    """The answer is another one, or comes in pieces that are read one by one."""
    assert talk(lambda: ask(b"abc\n"), "exchange(db.example)#1=corrupt[1]").value == [b"ACC\n"]
    assert talk(lambda: ask(b"abc\n"), "exchange(db.example)#1=slice[1]").value == [b"A"]


def test_the_next_slice_waits_until_the_last_one_was_read(talk, lines):
    """However long a program takes to read, it gets them one by one; and it may wait for all of them."""

    def work():
        with socket.create_connection(("db.example", 5432)) as sock:
            sock.sendall(b"abc\n")
            most, count, pieces = 0, array.array("i", [0]), []
            for _ in range(2):
                select.select([sock], [], [])
                # Longer than all pieces would take, if they did not wait.
                for _ in range(20_000):
                    fcntl.ioctl(sock, termios.FIONREAD, count)
                    most = max(most, count[0])
                pieces.append(sock.recv(65536))
            return most, [*pieces, sock.recv(2, socket.MSG_WAITALL)]

    assert talk(work, "exchange(db.example)#1=slice[1]").value == (1, [b"A", b"B", b"C\n"])


def test_a_partition_silences_all_that_comes_after(talk, lines):
    """Neither the exchange nor a new connection gets an answer, and no error comes."""

    def work():
        ends = []
        for _ in range(2):
            try:
                ask(b"q\n", timeout=0.2)
            except OSError as error:
                ends.append(type(error).__name__)
        return ends

    ran = talk(work, "exchange(db.example)#1=partition")
    assert ran.value == ["TimeoutError", "TimeoutError"]
    assert (ran.requests, len(ran.receipts)) == ((), 1)


@pytest.mark.parametrize(("moment", "got"), [("request", ()), ("answer", (b"q\n",))])
def test_kills_around_the_other_side(talk, lines, moment, got):
    """The workload dies before the other side has the request, or after it has answered."""
    ran = talk(lambda: ask(b"q\n"), f"exchange(db.example)#1=kill[{moment}]")
    assert (ran.signal, len(ran.receipts)) == (9, 1)
    assert tuple(one.body for one in ran.requests) == got


@pytest.mark.parametrize(
    ("fault", "number"),
    [
        ("ECONNREFUSED", errno.ECONNREFUSED),
        ("EHOSTUNREACH", errno.EHOSTUNREACH),
        ("ETIMEDOUT", errno.ETIMEDOUT),
    ],
)
@pytest.mark.parametrize("timeout", [None, 2.0])
def test_a_connection_fails(talk, lines, fault, number, timeout):
    """With and without waiting, the program gets the error that it would get."""
    ran = talk(lambda: ask(b"q\n", timeout=timeout), f"connect(db.example:5432)#1={fault}")
    assert isinstance(ran.error, OSError)
    assert (ran.error.errno, len(ran.receipts)) == (number, 1)


def test_a_peer_that_is_down_refuses_so_many_times(talk, lines):
    """``down[2]`` refuses two connections, ``persistent`` all."""

    def work():
        ends = []
        for _ in range(4):
            try:
                ends.append(ask(b"q\n") == [b"Q\n"])
            except ConnectionRefusedError:
                ends.append(False)
        return ends

    assert talk(work, "connect(db.example:5432)#1=down[2]").value == [False, False, True, True]
    assert talk(work, "connect(db.example:5432)#2=ECONNREFUSED[persistent]").value == [True, *[False] * 3]


def test_a_connection_without_an_answer(talk, lines):
    """A socket with a time-out waits for it; the kernel itself has sent the SYN."""
    ran = talk(lambda: ask(b"q\n", timeout=0.2), "connect(db.example:5432)#1=silent")
    assert isinstance(ran.error, TimeoutError)
    assert len(ran.receipts) == 1


def test_a_connection_without_an_answer_is_interrupted_and_timed_out(talk, lines):
    """A socket that waits in the kernel ends by a signal's handler, or by its own time-out, as without us."""

    def interrupted():
        def stop(*_):
            raise InterruptedError

        signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, 0.1)
        with socket.socket() as sock:
            sock.connect(("127.77.0.1", 5432))

    def timed_out():
        with socket.socket() as sock:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, struct.pack("ll", 0, 100_000))
            sock.connect(("127.77.0.1", 5432))

    for work, error in ((interrupted, InterruptedError), (timed_out, BlockingIOError)):
        ran = talk(work, "connect(db.example:5432)#1=silent", timeout=10.0)
        assert isinstance(ran.error, error), ran
        assert len(ran.receipts) == 1


def test_a_server_that_refuses_is_passed_on(talk, peers):
    """Where nothing listens the program is refused as it would be without us."""
    peers.add("db.example", ("127.0.0.1", 9), None)
    ran = talk(lambda: ask(b"q\n"))
    assert isinstance(ran.error, ConnectionRefusedError)


def test_nothing_shows_of_the_relay(talk, lines):
    """Names and options of the socket, and how it is waited for, are what they would be."""

    def work():
        sock = socket.socket()
        sock.setblocking(False)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        address = socket.getaddrinfo("db.example", 5432, type=socket.SOCK_STREAM)[0][4]
        assert sock.connect_ex(address) in (0, errno.EINPROGRESS)
        poll = select.epoll()
        poll.register(sock, select.EPOLLOUT)
        assert poll.poll(2)
        assert sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR) == 0
        assert sock.connect_ex(address) in (0, errno.EISCONN)
        assert not os.get_blocking(sock.fileno())
        with pytest.raises(BlockingIOError):
            sock.recv(1)
        return sock.getpeername() == address, sock.getsockname()[0], sock.getsockopt(1, 9)

    assert talk(work).value == (True, "127.0.0.1", 1)


def test_half_a_close_and_a_reset_of_the_workload_are_passed_on(talk, peers):
    """The server sees the end of the data, and can still answer; and it sees a reset."""
    seen = peers.add("db.example", None, _counts_until_the_end)

    def work():
        with socket.create_connection(("db.example", 1)) as sock:
            sock.sendall(b"x" * 1000)
            sock.shutdown(socket.SHUT_WR)
            count = sock.recv(100)
        sock = socket.create_connection(("db.example", 1))
        sock.sendall(b"x")
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        sock.close()
        with socket.create_connection(("db.example", 1)) as sock:
            sock.shutdown(socket.SHUT_WR)
            return count, sock.recv(100)

    assert seen.port
    assert talk(work).value == (b"1000 0", b"0 1")


def _counts_until_the_end(port):
    listener = socket.create_server(("127.0.0.1", port))
    resets = 0
    while True:
        connection, _ = listener.accept()
        got = 0
        with connection:
            try:
                while data := connection.recv(100):
                    got += len(data)
                connection.sendall(f"{got} {resets}".encode())
            except ConnectionResetError:
                resets += 1


def test_bulk_both_ways_while_the_client_waits_for_an_answer(talk, peers, root):
    """Eight MiB each way at once do not lock up the one that carries them and answers calls too."""
    peers.add("db.example", None, _echo)

    def work():
        import threading

        with socket.create_connection(("db.example", 1)) as sock:
            sender = threading.Thread(target=lambda: [sock.sendall(bytes(1 << 16)) for _ in range(128)])
            sender.start()
            got = 0
            while got < 8 << 20:
                got += len(sock.recv(1 << 16))
                with open(f"{root}/f", "a") as file:
                    file.write("x")
            sender.join()
            return got

    assert talk(work, "exchange(db.example)#999=reset[0]").value == 8 << 20


def _echo(port):
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = listener.accept()
        if os.fork() == 0:
            while data := connection.recv(1 << 18):
                connection.sendall(data)
            os._exit(0)
        connection.close()


def test_what_was_not_declared_is_unreachable(talk):
    """An address that of another machine cannot be reached, by stream or datagram, and the run says so."""

    def work():
        ends = []
        for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
            with socket.socket(type=kind) as sock:
                ends.append(sock.connect_ex(("192.0.2.1", 80)))
        with socket.socket(type=socket.SOCK_DGRAM) as sock:
            try:
                sock.sendto(b"x", ("192.0.2.1", 80))
            except OSError as error:
                ends.append(error.errno)
        return ends

    ran = talk(work)
    assert ran.value == [errno.ENETUNREACH] * 3
    assert "chaos.peer" in next(one.text for one in ran.caveats if one.kind == "undeclared")


def test_this_machine_is_relayed_under_its_address(talk, peers):
    """A loopback address that was not declared is a peer by that address."""
    other = peers.add("db.example", None, _echo)
    peers._peers.clear()

    def work():
        with socket.create_connection(("127.0.0.1", other.port)) as sock:
            sock.sendall(b"q")
            return sock.recv(1)

    ran = talk(work, record=True)
    other.stop()
    assert ran.value == b"q"
    assert names(ran, "connect", "exchange") == [
        f"connect(127.0.0.1:{other.port})#1",
        f"exchange(127.0.0.1:{other.port})#1",
    ]


def test_ipv6_and_addresses_of_ipv4_in_it(talk, peers):
    """Both ways to write an address of this machine lead to the relay."""
    if not socket.has_ipv6:
        pytest.skip("no IPv6")
    six = _six()
    peers.add("db.example", None, _echo)

    def work():
        got = []
        for address in (("::1", six), ("::ffff:127.0.0.1", peers.addresses[0].port)):
            with socket.socket(socket.AF_INET6) as sock:
                sock.settimeout(2)
                sock.connect(address)
                sock.sendall(b"q")
                got.append((sock.recv(1), sock.getpeername()[:2] == address))
        return got

    pid, listener = six_server(six)
    try:
        ran = talk(work, record=True)
    finally:
        os.kill(pid, 9)
        os.waitpid(pid, 0)
        listener.close()
    assert ran.value == [(b"q", True), (b"q", True)]
    assert len(names(ran, "exchange")) == 2


def _six() -> int:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6) as probe:
            return int(probe.getsockname()[1])
    except OSError:
        pytest.skip("no IPv6 on loopback")


def six_server(port):
    """An echo by IPv6 in another process."""
    listener = socket.create_server(("::1", port), family=socket.AF_INET6)
    pid = os.fork()
    if pid == 0:
        while True:
            connection, _ = listener.accept()
            connection.sendall(connection.recv(100))
    return pid, listener


def test_sockets_of_one_machine_are_left_alone(talk, root):
    """AF_UNIX is not a network: descriptors and the peer's identity get through."""

    def work():
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(f"{root}/s")
            listener.listen()
            with socket.socket(socket.AF_UNIX) as one:
                one.connect(f"{root}/s")
                pid = int.from_bytes(one.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], "little")
                return pid == os.getpid(), one.getpeername().endswith("/s")

    ran = talk(work, record=True)
    assert ran.value == (True, True)
    assert names(ran, "connect", "exchange") == []
    assert "unrelayed" not in [one.kind for one in ran.caveats]


def test_a_server_behind_a_socket_file_is_told_of(talk, root):
    """It listened before the run, so what is said to it is the outside world, and no fault strikes it."""

    def work():
        with socket.socket(socket.AF_UNIX) as one:
            one.connect(f"{root}/s")

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(f"{root}/s")
        listener.listen()
        ran = talk(work, record=True)
    assert ran.ok, ran.error
    assert [(one.kind, one.target) for one in ran.caveats] == [("unrelayed", f"{root}/s")]


def test_fast_open_is_refused(talk, lines):
    """Data with the SYN would bypass the relay: programs are told to connect first."""

    def work():
        with socket.socket() as sock:
            with pytest.raises(OSError, match="not supported") as first:
                sock.sendto(b"x", 0x20000000, ("127.77.0.1", 5432))
            with pytest.raises(OSError, match="not supported"):
                sock.setsockopt(socket.IPPROTO_TCP, 30, 1)
            return first.value.errno

    assert talk(work).value == errno.EOPNOTSUPP


def test_a_greeting_is_struck_before_anything_was_asked(talk, peers):
    """What a server says first is an operation too."""
    peers.add("mail.example", None, _greets)

    def work():
        with socket.create_connection(("mail.example", 25)) as sock:
            return sock.recv(100)

    assert names(talk(work, record=True), "greeting", "exchange") == ["greeting(mail.example)#1"]
    ran = talk(work, "greeting(mail.example)#1=eof[3]")
    assert (ran.value, len(ran.receipts)) == (b"220", 1)


def _greets(port):
    listener = socket.create_server(("127.0.0.1", port))
    while True:
        connection, _ = listener.accept()
        connection.sendall(b"220 ready\r\n")
        connection.close()


def test_tls_goes_through(talk, peers, tmp_path):
    """OpenSSL notices nothing of the relay, and a cut within a record is an error of TLS."""
    import subprocess

    made = subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=db.example",
         "-keyout", tmp_path / "k", "-out", tmp_path / "c"],
        capture_output=True,
        check=False,
    )  # fmt: skip
    if made.returncode:
        pytest.skip("openssl cannot make a certificate here")

    def serve(port):
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(tmp_path / "c", tmp_path / "k")
        listener = context.wrap_socket(socket.create_server(("127.0.0.1", port)), server_side=True)
        while True:
            try:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(connection.recv(100).upper())
            except OSError:
                continue

    peers.add("db.example", None, serve)

    def work():
        context = ssl.create_default_context(cafile=str(tmp_path / "c"))
        context.check_hostname = False
        with socket.create_connection(("db.example", 443), 2) as plain, context.wrap_socket(plain) as sock:
            sock.sendall(b"q")
            return sock.recv(10)

    assert talk(work).value == b"Q"
    assert isinstance(talk(work, "exchange(db.example)#2=corrupt[30]").error, OSError)
