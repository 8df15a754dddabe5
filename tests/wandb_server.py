"""A W&B server for tests, on this machine: it takes runs, files and workspaces, refuses a key, or never answers."""

from __future__ import annotations

import gzip
import json
import re
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

REFUSAL = {"errors": [{"message": "user is not logged in"}]}


class Server(ThreadingHTTPServer):
    """What it is told is kept.

    Attributes:
        operations: GraphQL requests, (name, variables).
        files: what was uploaded, by the last part of its path.
        stream: names of metrics in the history that runs have sent.
        history: rows of each run, by its id; a row that is sent again for the same place replaces the one there.
        silent: whether it takes requests and never answers.
        leaves_after: the GraphQL request after which it becomes silent.
        refuses: whether it refuses every key.
    """

    daemon_threads = True
    block_on_close = False

    def __init__(self, silent: bool = False, refuses: bool = False, leaves_after: str = "") -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.url = f"http://127.0.0.1:{self.server_address[1]}"
        self.silent, self.refuses, self.leaves_after = silent, refuses, leaves_after
        self.closing = threading.Event()
        self.operations: list[tuple[str, dict[str, Any]]] = []
        self.files: dict[str, bytes] = {}
        self.stream: set[str] = set()
        self.history: dict[str, list[dict[str, Any]]] = {}

    def handle_error(self, request: object, client_address: object) -> None:
        """Clients may hang up when they like."""

    def named(self, operation: str) -> list[dict[str, Any]]:
        return [variables for name, variables in self.operations if name == operation]

    def take_rows(self, run: str, offset: int, lines: list[str]) -> None:
        """History that a run sends, as of its row ``offset``."""
        sent = [json.loads(line) for line in lines]
        self.stream |= {key for row in sent for key in row}
        self.history.setdefault(run, [])[offset : offset + len(sent)] = sent

    def known(self, run: str) -> dict[str, Any] | None:
        """What a run that goes on asks for; None for one that is new."""
        rows = self.history.get(run)
        if rows is None:
            return None
        tail = json.dumps([json.dumps(row) for row in rows[-1:]])
        counts = {"historyLineCount": len(rows), "logLineCount": 0, "eventsLineCount": 0}
        texts = {
            "summaryMetrics": "{}",
            "config": "{}",
            "historyTail": tail,
            "eventsTail": "[]",
            "wandbConfig": '{"t": 1}',
        }
        return {"id": "r", "name": run, "displayName": run, "notes": None, "tags": [], **counts, **texts}

    def answer(self, operation: str, variables: dict[str, Any]) -> dict[str, Any]:
        upload = f"{self.url}/upload"
        project = {"id": "p", "name": variables.get("project"), "entity": {"id": "e", "name": "somebody"}}
        run = {"id": "r", "name": variables.get("name"), "config": "{}", "historyLineCount": 0, "project": project}
        file = {"id": "f", "name": "best.pt", "displayName": "best.pt", "uploadUrl": f"{upload}/best.pt"}
        file |= {"uploadHeaders": [], "storagePath": "s", "uploadMultipartUrls": None, "artifact": {"id": "a"}}
        manifest = {"id": "f", "name": "manifest", "displayName": "manifest", "uploadHeaders": []}
        manifest |= {"uploadUrl": f"{upload}/manifest"}
        names = variables.get("files") or []
        files = [{"name": name, "uploadUrl": f"{upload}/{name}"} for name in names if isinstance(name, str)]
        answers: dict[str, dict[str, Any]] = {
            "Viewer": {"viewer": {"id": "u", "entity": "somebody", "username": "somebody", "teams": {"edges": []}}},
            "RunResumeStatus": {"model": project | {"bucket": self.known(variables.get("name") or "")}},
            "UpsertBucket": {"upsertBucket": {"bucket": run, "inserted": True}},
            "CreateRunFiles": {"createRunFiles": {"runID": "r", "uploadHeaders": [], "files": files}},
            "ArtifactType": {"project": {"artifact": None}},
            "CreateArtifact": {"createArtifact": {"artifact": {"id": "a", "state": "PENDING"}}},
            "CreateArtifactManifest": {"createArtifactManifest": {"artifactManifest": {"id": "m", "file": manifest}}},
            "CreateArtifactFiles": {"createArtifactFiles": {"files": {"edges": [{"node": file}]}}},
            "CommitArtifact": {"commitArtifact": {"artifact": {"id": "a", "digest": "d"}}},
            "UpsertView2": {"upsertView": {"view": {"id": "v", "name": "nw-view-v"}, "inserted": True}},
        }
        return {"data": answers.get(operation, {})}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        if self.headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        server, answer = self.server, {}
        if server.silent:
            server.closing.wait()
            return
        if self.path == "/graphql":
            request = json.loads(body)
            named = re.search(r"(?:query|mutation)\s+(\w+)", request["query"])
            operation, variables = named.group(1) if named else "", request.get("variables") or {}
            server.operations.append((operation, variables))
            server.silent = operation == server.leaves_after
            answer = REFUSAL if server.refuses else server.answer(operation, variables)
        elif self.path.startswith("/upload/"):
            server.files[self.path.rpartition("/")[2]] = body
        elif self.path.endswith("/file_stream"):
            history = json.loads(body).get("files", {}).get("wandb-history.jsonl", {})
            server.take_rows(self.path.split("/")[-2], history.get("offset", 0), history.get("content", []))
        content = json.dumps(answer).encode()
        self.send_response(401 if server.refuses else 200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    do_GET = do_PUT = do_HEAD = do_POST  # noqa: N815

    def log_message(self, *arguments: object) -> None:
        pass


@contextmanager
def serving(silent: bool = False, refuses: bool = False, leaves_after: str = "") -> Iterator[Server]:
    server = Server(silent, refuses, leaves_after)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.closing.set()
        server.shutdown()
        server.server_close()
        thread.join()
