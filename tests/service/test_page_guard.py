"""Who asks the page wrongly is refused, that is said in the log, and everybody else is served."""

import base64
import signal
import socket
import ssl
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import trustme
from conftest import ROOT, Mosquitto, a_free_port
from page_rig import Page, everything, page
from rig import Message, Subscriber, finish, start, write_config

from service.page import door
from service.page.guard import FORGET_S, MISTAKES, Mistakes
from service.page.pace import SHARE, SPARE_S, Pace

CLIP = ROOT / "models/demo/conveyor.mp4"


def conveyor(clip: Path) -> Message:
    source = {"video": str(clip), "loop": True, "pace": "realtime"}
    return {"name": "line1", "topic": "factory/line1", "source": source, "publish": "all"}


BAD = {
    "no HTTP": b"\x16\x03\x01 hello\r\n\r\n",
    "no request": b"NONSENSE\r\n\r\n",
    "a header without a colon": b"GET / HTTP/1.1\r\nHost: localhost\r\nwhat is this\r\n\r\n",
    "two lengths": b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
    "a length and chunks": (
        b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    ),
    "a long line": b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
    "a long header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
    "many headers": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"X: a\r\n" * 200 + b"\r\n",
}


def test_malformed_requests_are_refused_and_said(tmp_path: Path, mosquitto: Mosquitto, clip: Path) -> None:
    with page(tmp_path, mosquitto.port, [conveyor(clip)]) as shown:
        answers = {name: shown.say(data) for name, data in BAD.items()}
        assert shown.ask("/healthz").status == 200
    assert {name: answer[:12] for name, answer in answers.items() if b" 400 " not in answer[:13]} == {}
    assert "page: refused a malformed request from 127.0.0.1" in shown.log
    assert shown.log.count("page: refused") <= 6  # however many there are


PATHS = [
    "/../../etc/passwd",
    "/%2e%2e/%2e%2e/etc/passwd",
    "/..%2f..%2fetc/passwd",
    "/page.css/../../../sections.py",
    "//etc/passwd",
    "/lines/..%2f..%2fetc%2fpasswd/picture.jpg",
    "/lines/%00/picture.jpg",
    "/evidence/..%2f..%2foutbox.db/picture.jpg",
    "/evidence/%2e%2e%2foutbox.db/small.jpg",
    "/page.css%00.js",
]


def test_no_path_leads_to_a_file_of_the_device(tmp_path: Path, mosquitto: Mosquitto, clip: Path) -> None:
    with page(tmp_path, mosquitto.port, [conveyor(clip)]) as shown:
        for path in PATHS:
            answer = shown.say(f"GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n".encode())
            assert answer.split(b" ")[1] in (b"404", b"410", b"400"), (path, answer)
            assert b"root:" not in answer
    assert "page: refused a path that there is not from 127.0.0.1" in shown.log


def test_methods_bodies_hosts_and_origins(tmp_path: Path, mosquitto: Mosquitto, clip: Path) -> None:
    with page(tmp_path, mosquitto.port, [conveyor(clip)]) as shown:
        own, foreign = {"Origin": shown.url}, {"Origin": "http://elsewhere.example"}
        assert shown.ask("/", "DELETE", headers=own).status == 405
        assert shown.ask("/", "POST", b"x").status == 403

        def label(body: bytes, headers: dict[str, str], kind: str = "application/json") -> int:
            path = "/evidence/01a2021a-1927-7921-b6a5-544cdcff521e/label"
            return shown.ask(path, "POST", body, {**headers, "Content-Type": kind}).status

        body = b'{"label": "scratch"}'
        assert [label(body, headers) for headers in (foreign, {"Origin": "null"}, {})] == [403, 403, 403]
        assert label(body, own, "text/plain") == 415
        assert label(b" " * 100_000, own) == 413
        wrong = (b'{"label": 1}', b"[" * 4000, b"", b'{"label": "a", "more": 1}', b"\xff")
        assert [label(data, own) for data in wrong] == [400] * len(wrong)
        assert label(body, own) == 410  # there is none of that id
        for host in ("elsewhere.example", "127.0.0.1.elsewhere.example", "localhost@elsewhere.example", "10.0.0.7"):
            assert shown.ask("/", headers={"Host": host}).status in (400, 421), host
        for host in ("localhost", "localhost:1", "[::1]:9", "127.0.0.1"):
            assert shown.ask("/", headers={"Host": host}).status == 200
    for what in ("a method that there is not", "a change asked for by another site"):
        assert f"page: refused {what} from 127.0.0.1" in shown.log


def basic(login: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(login.encode()).decode()}


def test_the_password(tmp_path: Path, mosquitto: Mosquitto, clip: Path) -> None:
    (tmp_path / "password").write_text("Grüße 7\n")
    section = {"password_file": "password", "username": "werk"}
    with page(tmp_path, mosquitto.port, [conveyor(clip)], http=section) as shown:
        asked = shown.ask("/")
        assert asked.status == 401
        assert asked.headers["WWW-Authenticate"].startswith('Basic realm="edgecls cell-7"')
        right = basic("werk:Grüße 7")
        for path in ("/", "/events.js", "/metrics", "/healthz", "/readyz", "/events", "/lines/line1/picture.jpg"):
            assert shown.ask(path).status == 401, path
        assert shown.ask("/", headers=right).status == 200
        for wrong in ("werk:grüße 7", "edgecls:Grüße 7", "werk:", ":", "werk"):
            assert shown.ask("/", headers=basic(wrong)).status == 401
        assert shown.ask("/", headers={"Authorization": "Basic ???"}).status == 401
        assert shown.ask("/", headers={"Authorization": "Bearer x"}).status == 401
        for _ in range(MISTAKES - 6):
            assert shown.ask("/", headers=basic("werk:x")).status == 401
        refused = shown.ask("/", headers=right)  # who guesses must not learn that this one was right
        assert refused.status == 429
        assert 0 < int(refused.headers["Retry-After"]) <= FORGET_S + 1
    assert "page: refused a wrong password from 127.0.0.1" in shown.log
    assert "Grüße" not in shown.log


def test_wrong_passwords_are_forgotten_after_a_while_and_take_little_memory() -> None:
    now = [0.0]
    mistakes = Mistakes(lambda: now[0])
    for _ in range(MISTAKES):
        assert mistakes.waits_s("10.0.0.7") == 0
        mistakes.note("10.0.0.7")
        now[0] += 1
    assert mistakes.waits_s("10.0.0.7") == FORGET_S - 1
    assert mistakes.waits_s("10.0.0.8") == 0
    now[0] += FORGET_S
    assert mistakes.waits_s("10.0.0.7") == 0
    for number in range(MISTAKES):
        mistakes.note(f"2001:db8::{number}")
    assert mistakes.waits_s("2001:db8::ffff") > 0  # all of one customer
    assert mistakes.waits_s("2001:db8:0:1::1") == 0
    for number in range(5000):
        mistakes.note(f"10.{number >> 8}.{number & 255}.1")
    assert len(mistakes._of) <= 1024


@pytest.mark.parametrize(
    ("files", "section", "sentence"),
    [
        ({}, {"password_file": "none"}, "http.password_file FOLDER/none cannot be read: No such file or directory"),
        ({"p": ""}, {"password_file": "p"}, "http.password_file FOLDER/p is empty: write the password into it"),
        (
            {"c": "no certificate", "k": "no key"},
            {"tls": {"cert_file": "c", "key_file": "k"}},
            "http.tls: FOLDER/c and FOLDER/k cannot be used (",
        ),
    ],
)
def test_a_page_that_cannot_be_protected_is_not_served(
    files: dict[str, str], section: Message, sentence: str, tmp_path: Path, mosquitto: Mosquitto
) -> None:
    free_port = a_free_port()
    for name, text in files.items():
        (tmp_path / name).write_text(text)
    subscriber = Subscriber(mosquitto.port)
    section = {"listen": f"127.0.0.1:{free_port}", **section}
    process = start(write_config(tmp_path, mosquitto.port, [conveyor(CLIP)], http=section))
    subscriber.wait_for("factory/line1/defects", 3)  # the lines inspect without it
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", free_port), 1)
    process.terminate()
    status, log = finish(process)
    subscriber.close()
    assert status == 0
    assert f"there is no status page: {sentence.replace('FOLDER', str(tmp_path))}" in log


def test_encrypted_and_nothing_else(tmp_path: Path, mosquitto: Mosquitto, clip: Path) -> None:
    authority = trustme.CA()
    certificate = authority.issue_cert("localhost")
    (tmp_path / "crt").write_bytes(certificate.cert_chain_pems[0].bytes())
    (tmp_path / "key").write_bytes(certificate.private_key_pem.bytes())
    context = ssl.create_default_context()
    authority.configure_trust(context)
    port_file = {"tls": {"cert_file": "crt", "key_file": "key"}}
    port = a_free_port()
    section = {"listen": f"127.0.0.1:{port}", **port_file}
    process = start(write_config(tmp_path, mosquitto.port, [conveyor(clip)], http=section))
    plain = Page(port, process)

    def encrypted(data: bytes) -> bytes:
        with plain.connect() as raw, context.wrap_socket(raw, server_hostname="localhost") as connection:
            connection.sendall(data)
            return everything(connection)

    ask = f"GET /healthz HTTP/1.1\r\nHost: localhost:{port}\r\nConnection: close\r\n\r\n".encode()
    deadline = time.monotonic() + 60
    while True:
        try:
            answer = encrypted(ask)
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    assert answer.startswith(b"HTTP/1.1 200")
    assert plain.say(ask) == b""  # not a word in clear
    slow = plain.connect()
    slow.settimeout(door.HANDSHAKE_S * 4)
    assert everything(slow) == b""  # who does not shake hands has to leave
    slow.close()
    assert encrypted(ask).startswith(b"HTTP/1.1 200")
    process.terminate()
    status, log = finish(process)
    assert status == 0
    assert "page: refused a connection that is no TLS from 127.0.0.1" in log


def test_slow_clients_have_to_leave(tmp_path: Path, mosquitto: Mosquitto, clip: Path) -> None:
    with page(tmp_path, mosquitto.port, [conveyor(clip)]) as shown:
        drop = shown.connect(door.ASKING_S * 4)
        silent = shown.connect(door.ASKING_S * 4)
        half = shown.connect(door.ASKING_S * 4)
        half.sendall(
            b"POST /evidence/a/label HTTP/1.1\r\nHost: localhost\r\nOrigin: http://localhost\r\n"
            b"Content-Type: application/json\r\nContent-Length: 20\r\n\r\n{"
        )
        stop = threading.Event()

        def trickle() -> None:
            head = b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"a" * 1000
            for byte in head:
                try:
                    drop.sendall(bytes([byte]))
                except OSError:
                    return
                if stop.wait(0.2):
                    return

        thread = threading.Thread(target=trickle)
        thread.start()
        assert everything(drop) == b""
        assert everything(silent) == b""
        assert everything(half).split(b" ")[1:2] in ([b"410"], [b"408"], [])
        stop.set()
        thread.join()
        for connection in (drop, silent, half):
            connection.close()
        assert shown.ask("/healthz").status == 200
    assert "page: refused to wait for a request that does not come to its end from 127.0.0.1" in shown.log


def test_who_takes_nothing_of_an_answer_has_to_leave(tmp_path: Path, mosquitto: Mosquitto, clip: Path) -> None:
    with page(tmp_path, mosquitto.port, [conveyor(clip)]) as shown:
        greedy = socket.socket()
        greedy.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        greedy.settimeout(120)
        greedy.connect(("127.0.0.1", shown.port))
        # More than the kernel keeps for both ends, asked for at once and never read.
        ask = b"GET /page.css HTTP/1.1\r\nHost: localhost\r\n\r\n"
        gone = False
        deadline = time.monotonic() + 120
        greedy.settimeout(1)
        while not gone and time.monotonic() < deadline:
            try:
                greedy.sendall(ask * 10)
            except TimeoutError:
                continue
            except OSError:
                gone = True
        greedy.close()
        assert gone
        assert shown.ask("/healthz").status == 200
    assert "page: refused to wait for a client that does not take its answer from 127.0.0.1" in shown.log


def test_more_connections_than_there_are_places(tmp_path: Path, mosquitto: Mosquitto, clip: Path) -> None:
    """Those that ask for nothing make room, and streams are kept."""
    with page(tmp_path, mosquitto.port, [conveyor(clip)]) as shown:
        stream = shown.connect()
        stream.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert stream.recv(100).startswith(b"HTTP/1.1 200")
        before = open_files(shown)
        idle = [shown.connect() for _ in range(3 * door.CONNECTIONS)]
        assert shown.ask("/healthz").status == 200
        assert open_files(shown) - before <= door.CONNECTIONS + 8
        received = stream.recv(65536)
        assert b"event: " in received
        for connection in (*idle, stream):
            connection.close()


def test_a_crowd_that_comes_at_once_keeps_nobody_out(tmp_path: Path, mosquitto: Mosquitto, clip: Path) -> None:
    """They queue while the daemon stands still, and are let in one after the other without a pause."""
    with page(tmp_path, mosquitto.port, [conveyor(clip)]) as shown:
        shown.process.send_signal(signal.SIGSTOP)
        crowd = [shown.connect() for _ in range(door.CONNECTIONS + 16)]
        asks = shown.connect()
        asks.sendall(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
        shown.process.send_signal(signal.SIGCONT)
        assert asks.recv(100).startswith(b"HTTP/1.1 200")
        for connection in (*crowd, asks):
            connection.close()


def test_thousands_of_requests_cost_inspection_no_frame(tmp_path: Path, mosquitto: Mosquitto, clip: Path) -> None:
    """Of a clip at its own pace every frame is inspected."""
    subscriber = Subscriber(mosquitto.port)
    with page(tmp_path, mosquitto.port, [conveyor(clip)]) as shown:
        done = threading.Event()
        answered: list[int] = []

        def hammer() -> None:
            while not done.is_set():
                try:
                    answered.append(shown.ask("/page.js").status)
                except OSError:
                    answered.append(0)

        threads = [threading.Thread(target=hammer) for _ in range(8)]
        for thread in threads:
            thread.start()
        before = shown.events(1)[0]
        wait_for(lambda: len(answered) >= 1000)
        after = shown.events(1)[0]
        done.set()
        for thread in threads:
            thread.join()
    subscriber.close()
    assert set(answered) <= {200, 0}
    assert answered.count(200) > len(answered) / 2
    frames = after["lines"][0]["frames"] - before["lines"][0]["frames"]
    assert frames > 0
    assert after["lines"][0]["dropped"] == 0


def test_its_thread_takes_its_share_of_a_core_and_no_more() -> None:
    """Of processor time, whatever else the machine does."""
    took: list[float] = []

    def work() -> None:
        pace = Pace()
        begin_s, begin_cpu_s = time.monotonic(), time.thread_time()
        charged_s = 0.0
        while time.thread_time() + charged_s < begin_cpu_s + 0.4:
            pace.hold()
            sum(range(1000))
            pace.charge(0.0001)
            charged_s += 0.0001
        pace.hold()
        took.extend((time.monotonic() - begin_s, time.thread_time() - begin_cpu_s + charged_s))

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    elapsed_s, cpu_s = took
    assert cpu_s <= SPARE_S + SHARE * elapsed_s + 0.01


def open_files(shown: Page) -> int:
    return len(list(Path(f"/proc/{shown.process.pid}/fd").iterdir()))


def wait_for(done: Callable[[], bool], timeout_s: float = 120) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.05)
