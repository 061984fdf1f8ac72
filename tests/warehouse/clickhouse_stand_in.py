"""ClickHouse's engine behind as much of its HTTP interface as a sender meets: the address's parameters, then the body.

Run with chdb on the path; it prints its port. The statement is `query` and behind it the body, as in ClickHouse. The
other parameters are settings, except `database`.
"""

from __future__ import annotations

import os
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from importlib import import_module
from urllib.parse import parse_qsl, urlsplit


class Interface(BaseHTTPRequestHandler):
    """Answers 200 with what a statement returns, and 400 with the engine's error."""

    def do_POST(self) -> None:
        parameters = dict(parse_qsl(urlsplit(self.path).query, strict_parsing=True))
        database, statement = parameters.pop("database", "default"), parameters.pop("query", "")
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        try:
            ENGINE.query(f"USE {database}")
            for name, value in parameters.items():
                ENGINE.query(f"SET {name} = {value}")
            status, said = 200, str(ENGINE.query(f"{statement}\n{body}"))
        except Exception as exc:  # noqa: BLE001 whatever the engine refuses is an answer
            status, said = 400, str(exc)
        finally:
            for name in parameters:
                ENGINE.query(f"SET {name} = DEFAULT")
        self.send_response(status)
        self.end_headers()
        self.wfile.write(said.encode())

    def log_message(self, *_: object) -> None:
        pass


if __name__ == "__main__":
    os.chdir(sys.argv[1])
    ENGINE = import_module("chdb.session").Session()
    server = HTTPServer(("127.0.0.1", 0), Interface)
    print(server.server_port, flush=True)
    server.serve_forever()
