"""The yardstick: an aiohttp handler that reads a JSON body and answers a fixed one, nothing else."""

import sys

import orjson
import uvloop
from aiohttp import web

ANSWER = orjson.dumps({"placement": "pdp", "config": {"model": "ranker-v1", "item_count": 12}, "assignments": []})


async def assign(request: web.Request) -> web.Response:
    orjson.loads(await request.read())
    return web.Response(body=ANSWER, content_type="application/json")


app = web.Application()
app.router.add_post("/v1/assign", assign)
web.run_app(app, host="127.0.0.1", port=int(sys.argv[1]), print=None, access_log=None, loop=uvloop.new_event_loop())
