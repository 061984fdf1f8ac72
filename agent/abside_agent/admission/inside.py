"""The checking child: order and limits of the compiling child, with the old documents in place of a snapshot."""

from __future__ import annotations

import sys
from functools import partial

from abside_agent.admission.exchange import ONE_OF_SEVERAL
from abside_agent.admission.judge import judge
from abside_agent.document.reading import Reading
from abside_agent.run.child.answering import answer_one
from abside_agent.run.child.exchange import ChildReply, Order
from abside_agent.settle.settle import bounded


def answer(order: Order, *, one_of_several: bool) -> ChildReply:
    """Check an order's reading against `last`, which is a reading here too, empty for none."""
    old = Reading.unpack(order.last) if order.last else None
    problems = judge(Reading.unpack(order.reading), old, order.now_us, one_of_several=one_of_several)
    return ChildReply(b"", "", {}, bounded(problems))


if __name__ == "__main__":
    sys.exit(answer_one(partial(answer, one_of_several=ONE_OF_SEVERAL in sys.argv[1:])))
