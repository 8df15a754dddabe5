"""Downloads from a real server on this machine: whole, verified, or not at all."""

import hashlib
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
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


@pytest.mark.parametrize("path", ["file", "cut"])
def test_another_content_leaves_nothing(server: str, tmp_path: Path, path: str) -> None:
    with pytest.raises(UserError, match=path):
        fetch(f"{server}/{path}", tmp_path / "file.gz", "0" * 32, "file.gz", Quiet())
    assert left(tmp_path) == []


def test_a_missing_file_names_url_folder_and_layout(server: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        fetch(f"{server}/missing", tmp_path / "file.gz", MD5, "four files", Quiet())
    assert f"{server}/missing" in str(caught.value)
    assert str(tmp_path) in str(caught.value)
    assert "four files" in str(caught.value)
    assert left(tmp_path) == []


def test_no_network(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="cannot download"):
        fetch("http://127.0.0.1:1/file", tmp_path / "file.gz", MD5, "file.gz", Quiet())


def test_an_interruption_leaves_nothing(server: str, tmp_path: Path) -> None:
    class Interrupts(Quiet):
        def progress(self, what: str, total: int, unit: str):  # type: ignore[no-untyped-def]
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fetch(f"{server}/file", tmp_path / "file.gz", MD5, "file.gz", Interrupts())
    assert left(tmp_path) == []


def test_several_at_once_download_once(server: str, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        jobs = [pool.submit(fetch, f"{server}/file", tmp_path / "file.gz", MD5, "file.gz", Quiet()) for _ in range(4)]
        for job in jobs:
            job.result()
    assert Handler.requests == 1
    assert left(tmp_path) == ["file.gz"]
