"""The child that finds which experiments the documents name. It parses and checks nothing, so it is fast."""

from __future__ import annotations

import sys

import msgpack

from abside_agent.document.parse import parse
from abside_agent.document.reading import Reading
from abside_agent.document.tree import Bad, Mapping
from abside_agent.run.child.answering import answer_one
from abside_agent.run.child.exchange import ChildReply, Order


def answer(order: Order) -> ChildReply:
    """Return, in place of a snapshot, the ids of experiments and the names of the files that cannot be read."""
    ids: dict[str, None] = {}
    unread: list[str] = []
    for file in Reading.unpack(order.reading).files:
        tree = parse(file.name, file.data)
        experiments = tree.node(("experiments",))
        if isinstance(experiments, Mapping):
            ids |= dict.fromkeys(experiments.items)
        if isinstance(tree.root, Bad):
            unread.append(file.name)
    return ChildReply(bytes(msgpack.packb([list(ids), unread])), "")


if __name__ == "__main__":
    sys.exit(answer_one(answer))
