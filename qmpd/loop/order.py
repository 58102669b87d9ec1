"""What QEMU leaves to chance, and what qmpd does there.

A main loop does what is ready in a fixed order.  What becomes ready when does not depend on it
alone: the threads that work at requests to files are as fast as they are, a client's request
arrives when it arrives, and the RCU thread looks around when it does.  `Order` has one answer to
each such question: requests end in the order in which they were made, and nothing is late.  A
subclass may give any other answer that QEMU may show.
"""

from __future__ import annotations

from collections.abc import Sequence


class Order:
    """Everything happens as soon as it can, first come, first served."""

    def completed(self, under_way: int) -> Sequence[int] | None:
        """Which of the requests to files are reported to have ended in this round of the loop.

        :param under_way: how many there are; they are numbered in the order they were made in
        :returns: their numbers, in the order in which they are reported; None for all
        """
        return None

    def monitor_waits(self) -> bool:
        """Whether a monitor that has its turn in this round is passed over, and has it later."""
        return False

    def rcu_looks(self, most: int) -> int:
        """How many times the RCU thread looks before it takes the callbacks that there are."""
        return most
