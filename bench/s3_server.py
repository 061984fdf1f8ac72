"""An S3 server in a thread: moto, honest about If-None-Match, with the faults that a test asks for."""

from __future__ import annotations

import itertools
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Environ = dict[str, Any]


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 werkzeug's name
        pass


@dataclass
class S3Server:
    """One server for a whole run; each test takes a bucket of its own."""

    faults: list[Callable[[Environ], tuple[str, bytes] | None]] = field(default_factory=list)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def start(self) -> None:
        moto = DomainDispatcherApplication(create_backend_app)

        def app(environ: Environ, start_response: Callable[..., Any]) -> Iterable[bytes]:
            for fault in tuple(self.faults):
                if answer := fault(environ):
                    status, body = answer
                    environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
                    start_response(status, [("Content-Length", str(len(body))), ("Content-Type", "application/xml")])
                    return [body]
            answered: Iterable[bytes] = moto(environ, start_response)
            return answered

        self._server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{self._server.server_port}"
        self._client = boto3.client("s3", endpoint_url=self.endpoint, **_SIGNED)

    def stop(self) -> None:
        self._client.close()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(10)

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which obstore finds this server."""
        return {
            "AWS_ENDPOINT": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": "us-east-1",
            "AWS_ACCESS_KEY_ID": "shop",
            "AWS_SECRET_ACCESS_KEY": "secret",
        }

    def bucket(self) -> str:
        """Make an empty bucket; return its name."""
        name = f"bucket-{next(self._numbers)}"
        self._client.create_bucket(Bucket=name)
        return name

    def objects(self, bucket: str) -> dict[str, int]:
        """Return name → size of what is in a bucket, asked of the server by another client than ours."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {one["Key"]: one["Size"] for page in pages for one in page.get("Contents", [])}

    @contextmanager
    def faulty(self, fault: Callable[[Environ], tuple[str, bytes] | None]) -> Iterator[None]:
        """Ask `fault` before each request: its answer is sent instead of the server's; None leaves that alone."""
        self.faults.append(fault)
        try:
            yield
        finally:
            self.faults.remove(fault)


_SIGNED = {"region_name": "us-east-1", "aws_access_key_id": "shop", "aws_secret_access_key": "secret"}
