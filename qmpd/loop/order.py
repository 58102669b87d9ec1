"""What QEMU leaves to chance, and what qmpd does there.

A main loop does what is ready in a fixed order.  What becomes ready when does not depend on it
alone: the threads that work at requests to files are as fast as they are, a client's request
arrives when it arrives, and the RCU thread looks around when it does.  `Order` has one answer to
each such question: requests to files end in the order in which they were made, and nothing is
late.  A subclass may give any other answer that QEMU may show (`qmpd.sim.schedule`).
"""

from __future__ import annotations

from collections.abc import Sequence


class Order:
    """Everything happens as soon as it can, first come, first served."""

    chooses = False
    """Whether `completed` says which requests have ended; otherwise they do when they have."""

    def completed(self, under_way: int) -> Sequence[int] | None:
        """Which of the requests to files are reported to have ended in this round of the loop.

        :param under_way: how many there are; they are numbered from 0 as they were made
        :returns: their numbers, in the order in which they are reported; None for those that have
            been under way for a round, which is what happens by default
        """
        return None

    def completes_among_bottom_halves(self) -> bool:
        """Whether requests are reported before the bottom halves that are about to be run.

        A thread may schedule the bottom half that reports them at any moment.
        """
        return False

    def request_waits(self) -> bool:
        """Whether a client's request is seen a round of the loop later."""
        return False

    def request_among_bottom_halves(self) -> bool:
        """Whether a client's request is run, and answered, before the bottom halves of a round.

        The one that runs it (``do_qmp_dispatch_bh``) may be the newest of them.
        """
        return False

    def after_answer(self) -> int | None:
        """How many more things are done after an answer before the client asks again.

        This is for clients in the same process, whose requests take no time.

        :returns: None for all that need no time to pass
        """
        return None

    def rcu_looks(self, most: int) -> int:
        """How many times the RCU thread looks before it takes the callbacks that there are."""
        return most
