"""An S3 server in a thread: moto, honest about If-None-Match, with the faults that a test asks for; or a real one."""

from __future__ import annotations

import itertools
import secrets
import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import boto3
import pytest
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from werkzeug.serving import BaseWSGIServer

REGION = "us-east-1"
Environ = dict[str, Any]


class _Quiet(WSGIRequestHandler):
    def log(self, type: str, message: str, *args: Any) -> None:  # noqa: A002 werkzeug's name
        pass


@dataclass
class S3Server:
    """One server for a whole run; each test takes a bucket of its own. `endpoint`: of a real one, already there."""

    endpoint: str = ""
    key: str = "shop"
    secret: str = "secret"  # noqa: S105 moto asks for none
    faults: list[Callable[[Environ], tuple[str, bytes] | None]] = field(default_factory=list, kw_only=True)
    _numbers: Iterator[int] = field(default_factory=lambda: itertools.count(1), kw_only=True)

    def start(self) -> None:
        self._server = None if self.endpoint else self._moto()
        self._run = "" if self._server else f"{secrets.token_hex(4)}-"  # a real one keeps the buckets of other runs
        named = {"aws_access_key_id": self.key, "aws_secret_access_key": self.secret, "region_name": REGION}
        self._client = boto3.client("s3", endpoint_url=self.endpoint, **named)

    def _moto(self) -> BaseWSGIServer:
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

        server = make_server("127.0.0.1", 0, app, threaded=True, request_handler=_Quiet)
        self._thread = threading.Thread(target=server.serve_forever, daemon=True)
        self._thread.start()
        self.endpoint = f"http://127.0.0.1:{server.server_port}"
        return server

    def stop(self) -> None:
        self._client.close()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join(10)

    @property
    def environment(self) -> dict[str, str]:
        """The variables with which obstore finds this server."""
        return {
            "AWS_ENDPOINT": self.endpoint,
            "AWS_ALLOW_HTTP": "true",
            "AWS_REGION": REGION,
            "AWS_ACCESS_KEY_ID": self.key,
            "AWS_SECRET_ACCESS_KEY": self.secret,
        }

    def bucket(self) -> str:
        """Make an empty bucket; return its name."""
        name = f"bucket-{self._run}{next(self._numbers)}"
        self._client.create_bucket(Bucket=name)
        return name

    def objects(self, bucket: str) -> dict[str, int]:
        """Return name → size of what is in a bucket, asked of the server by another client than ours."""
        pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=bucket)
        return {one["Key"]: one["Size"] for page in pages for one in page.get("Contents", [])}

    @contextmanager
    def faulty(self, fault: Callable[[Environ], tuple[str, bytes] | None]) -> Iterator[None]:
        """Ask `fault` before each request: its answer is sent instead of the server's; None leaves that alone."""
        if self._server is None:
            pytest.skip("faults are those of a server in this process")
        self.faults.append(fault)
        try:
            yield
        finally:
            self.faults.remove(fault)
