"""Downloads from a real server on this machine: whole, verified, or not at all."""

import gc
import hashlib
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from snnrun.data import Quiet
from snnrun.data.download import fetch
from snnrun.errors import UserError

CONTENT = bytes(range(256)) * 1000
MD5 = hashlib.md5(CONTENT).hexdigest()


class Handler(BaseHTTPRequestHandler):
    requests = 0

    def do_GET(self) -> None:
        type(self).requests += 1
        if self.path == "/missing":
            self.send_error(404)
            return
        self.send_response(200)
        if self.path == "/chunked":  # announces a piece of 65,536 bytes and hangs up after 10
            self.send_header("Transfer-Encoding", "chunked")
            self.end_headers()
            self.wfile.write(b"10000\r\n" + CONTENT[:10])
            return
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000] if self.path == "/cut" else CONTENT)

    def log_message(self, format: str, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[str]:
    Handler.requests = 0
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as running:
        thread = threading.Thread(target=running.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()
        thread.join()


def left(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix != ".lock")


def test_a_file_arrives_whole(server: str, tmp_path: Path) -> None:
    fetch(f"{server}/file", tmp_path / "new" / "file.gz", MD5, "file.gz", Quiet())
    assert (tmp_path / "new" / "file.gz").read_bytes() == CONTENT
    assert left(tmp_path / "new") == ["file.gz"]


def test_another_content_leaves_nothing(server: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not what was published"):
        fetch(f"{server}/file", tmp_path / "file.gz", "0" * 32, "file.gz", Quiet())
    assert left(tmp_path) == []


def test_no_network(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot download"):
        fetch("http://127.0.0.1:1/file", tmp_path / "file.gz", MD5, "file.gz", Quiet())


def test_several_at_once_download_once(server: str, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(fetch, f"{server}/file", tmp_path / "file.gz", MD5, "file.gz", Quiet()) for _ in range(4)]
        for job in jobs:
            job.result()
    assert Handler.requests == 1
    assert left(tmp_path) == ["file.gz"]


@pytest.mark.parametrize(
    ("path", "says"),
    [("cut", "ended after 1,000 of 256,000 bytes"), ("chunked", "IncompleteRead"), ("missing", "HTTP Error 404")],
)
def test_a_broken_transfer_says_why_and_where_to_put_it_by_hand(
    server: str, tmp_path: Path, path: str, says: str
) -> None:
    with pytest.raises(UserError) as caught:
        fetch(f"{server}/{path}", tmp_path / "file.gz", MD5, "four files", Quiet())
    message = str(caught.value)
    for part in (f"cannot download {server}/{path}", says, f"fill {tmp_path} by hand: four files"):
        assert part in message
    assert left(tmp_path) == []


def test_no_connection_stays_open_after_an_answer_that_is_an_error(server: str, tmp_path: Path) -> None:
    with pytest.raises(UserError):
        fetch(f"{server}/missing", tmp_path / "file.gz", MD5, "", Quiet())
    gc.collect()  # an open one would be reported here, as an error


def test_a_folder_that_cannot_be_written_is_no_network_error(server: str, tmp_path: Path) -> None:
    (tmp_path / "raw").write_text("a file in the folder's place")
    with pytest.raises(UserError, match="cannot write"):
        fetch(f"{server}/file", tmp_path / "raw" / "file.gz", MD5, "", Quiet())


def test_what_a_killed_download_left_is_replaced(server: str, tmp_path: Path) -> None:
    (tmp_path / "file.gz.part").write_bytes(b"half of it")
    fetch(f"{server}/file", tmp_path / "file.gz", MD5, "", Quiet())
    assert (tmp_path / "file.gz").read_bytes() == CONTENT
    assert left(tmp_path) == ["file.gz"]


def test_an_interruption_in_the_middle_leaves_nothing(server: str, tmp_path: Path) -> None:
    class Interrupts(Quiet):
        @contextmanager
        def progress(self, what: str, total: int, unit: str) -> Iterator[Callable[[int], None]]:
            def advance(amount: int) -> None:
                assert left(tmp_path) == ["file.gz.part"]
                raise KeyboardInterrupt

            yield advance

    with pytest.raises(KeyboardInterrupt):
        fetch(f"{server}/file", tmp_path / "file.gz", MD5, "", Interrupts())
    assert left(tmp_path) == []
