"""The checking child: order and limits of the compiling child, with the old documents in place of a snapshot."""

from __future__ import annotations

import sys

from abside_agent.admission.exchange import ONE_OF_SEVERAL
from abside_agent.admission.judge import judge
from abside_agent.document.reading import Reading
from abside_agent.run.child.exchange import EXIT_MEMORY, ChildReply, Order
from abside_agent.run.child.limits import limit
from abside_agent.settle.settle import bounded


def main() -> int:
    """Answer one order."""
    order = Order.unpack(sys.stdin.buffer.read())
    limit(order)
    try:
        answered = answer(order, one_of_several=ONE_OF_SEVERAL in sys.argv[1:]).pack()
    except MemoryError:
        return EXIT_MEMORY
    sys.stdout.buffer.write(answered)
    return 0


def answer(order: Order, *, one_of_several: bool) -> ChildReply:
    """Check an order's reading against `last`, which is a reading here too, empty for none."""
    old = Reading.unpack(order.last) if order.last else None
    problems = judge(Reading.unpack(order.reading), old, order.now_us, one_of_several=one_of_several)
    return ChildReply(b"", "", {}, bounded(problems))


if __name__ == "__main__":
    sys.exit(main())
