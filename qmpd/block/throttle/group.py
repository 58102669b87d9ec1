"""Throttle groups: members that share limits, and take turns."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from qmpd.block.throttle.limits import ThrottleConfig
from qmpd.block.throttle.state import READ, WRITE, ThrottleState
from qmpd.loop.task import Waiter

if TYPE_CHECKING:
    from qmpd.loop.clock import Clock
    from qmpd.loop.task import Handle


class ThrottleGroup:
    """Limits, and who is under them.

    :param name: what queries call it
    :param clock: its time
    """

    def __init__(self, name: str, clock: Clock) -> None:
        self.name = name
        self.clock = clock
        self.state = ThrottleState(ThrottleConfig(), clock.now())
        self.is_object = False
        """Whether object-add has made it, and object-del takes it away."""
        self.members: list[ThrottleMember] = []
        self.tokens: dict[bool, ThrottleMember | None] = {READ: None, WRITE: None}
        """Whose turn it is, in each direction."""
        self.armed: dict[bool, Handle | None] = {READ: None, WRITE: None}
        self._waking: deque[Waiter] = deque()

    @property
    def config(self) -> ThrottleConfig:
        """The limits."""
        return self.state.config

    def configure(self, config: ThrottleConfig) -> None:
        """Follow other limits from now on; what waits is looked at anew."""
        self.state.configure(config, self.clock.now())
        for is_write in (READ, WRITE):
            self._disarm(is_write)
            for member in self.members:
                if member.waiting(is_write):
                    self.schedule(member, is_write)
                    break

    def join(self, member: ThrottleMember) -> None:
        """Put `member` under the limits."""
        self.members.append(member)
        for is_write in (READ, WRITE):
            if self.tokens[is_write] is None:
                self.tokens[is_write] = member

    def leave(self, member: ThrottleMember) -> None:
        """Let `member`, which has nothing waiting, go."""
        for is_write in (READ, WRITE):
            if self.tokens[is_write] is member:
                following = self._after(member)
                self.tokens[is_write] = None if following is member else following
                self._disarm(is_write)
        self.members.remove(member)
        for is_write in (READ, WRITE):
            waiting = next((m for m in self.members if m.waiting(is_write)), None)
            if waiting is not None and self.armed[is_write] is None:
                self.schedule(waiting, is_write)

    def _after(self, member: ThrottleMember) -> ThrottleMember:
        index = self.members.index(member)
        return self.members[(index + 1) % len(self.members)]

    def next_token(self, member: ThrottleMember, is_write: bool) -> ThrottleMember:
        """Whose turn is next; `member` if nobody else has anything waiting."""
        if member.waiting(is_write) and member.drained:
            return member
        start = self.tokens[is_write] or member
        token = self._after(start)
        while token is not start and not token.waiting(is_write):
            token = self._after(token)
        return member if token is start and not token.waiting(is_write) else token

    def must_wait(self, token: ThrottleMember, is_write: bool) -> bool:
        """Whether the next request has to wait; if so, the timer runs."""
        if token.drained:
            return False
        if self.armed[is_write] is not None:
            return True
        delay = self.state.wait(is_write, self.clock.now())
        if not delay:
            return False
        self._arm(token, is_write, delay)
        return True

    def schedule(self, member: ThrottleMember, is_write: bool) -> None:
        """Let the next waiting request go when it may."""
        token = self.next_token(member, is_write)
        if not token.waiting(is_write):
            return
        if not self.must_wait(token, is_write):
            self.tokens[is_write] = token
            token.release_one(is_write)

    def wake(self, waiter: Waiter) -> None:
        """Let a request go on, at once or after those that are being let go now.

        Each may let go the next one: they come one after the other, not one inside the other.
        """
        self._waking.append(waiter)
        if len(self._waking) > 1:
            return
        while self._waking:
            try:
                self._waking[0].wake()
            finally:
                self._waking.popleft()

    def _arm(self, token: ThrottleMember, is_write: bool, delay: int) -> None:
        self.tokens[is_write] = token
        self.armed[is_write] = self.clock.call_later(delay, lambda: self._expired(token, is_write))

    def _disarm(self, is_write: bool) -> None:
        handle, self.armed[is_write] = self.armed[is_write], None
        if handle is not None:
            handle.cancel()

    def _expired(self, token: ThrottleMember, is_write: bool) -> None:
        self.armed[is_write] = None
        if not token.release_one(is_write) and token in self.members:
            self.schedule(token, is_write)


class ThrottleMember:
    """One under the limits of a group: a drive or a throttle node.

    :param group: whose limits
    """

    def __init__(self, group: ThrottleGroup) -> None:
        self.group = group
        self._queues: dict[bool, deque[Waiter]] = {READ: deque(), WRITE: deque()}
        self._drains = 0
        group.join(self)

    @property
    def drained(self) -> bool:
        """Whether its requests go at once for the time being."""
        return self._drains > 0

    def waiting(self, is_write: bool) -> bool:
        """Whether any request waits."""
        return bool(self._queues[is_write])

    async def intercept(self, length: int, *, is_write: bool) -> None:
        """Wait until a request of `length` bytes may go."""
        group = self.group
        if not group.config.enabled:
            return
        token = group.next_token(self, is_write)
        if group.must_wait(token, is_write) or self._queues[is_write]:
            # who is let go has had its turn, and asks for the next one's, before the timer returns
            waiter = Waiter(direct=True)
            self._queues[is_write].append(waiter)
            await waiter
            group = self.group
        group.state.account(is_write, length)
        group.schedule(self, is_write)

    def release_one(self, is_write: bool) -> bool:
        """Let the oldest waiting request go; returns whether there was one."""
        queue = self._queues[is_write]
        if not queue:
            return False
        self.group.wake(queue.popleft())
        return True

    def drained_begin(self) -> None:
        """Let all that waits go, and what comes; these calls are counted."""
        self._drains += 1
        if self._drains == 1:
            self._release_all()

    def drained_end(self) -> None:
        """Undo one `drained_begin`."""
        self._drains -= 1

    def leave(self) -> None:
        """Be under the limits no longer; what waits goes."""
        self._drains += 1
        self._release_all()
        self.group.leave(self)

    def move(self, group: ThrottleGroup) -> None:
        """Be under the limits of `group` instead."""
        self.leave()
        self._drains -= 1
        self.group = group
        group.join(self)

    def _release_all(self) -> None:
        for is_write in (READ, WRITE):
            while self.release_one(is_write):
                pass


class ThrottleGroups:
    """The groups of one machine by name.

    :param clock: the time of all of them
    """

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self._groups: dict[str, ThrottleGroup] = {}

    @contextmanager
    def made_on(self, clock: Clock) -> Iterator[None]:
        """Groups that are made meanwhile follow another clock."""
        before, self.clock = self.clock, clock
        try:
            yield
        finally:
            self.clock = before

    def find(self, name: str) -> ThrottleGroup | None:
        """The group called `name`."""
        return self._groups.get(name)

    def get(self, name: str) -> ThrottleGroup:
        """The group called `name`; it is made where there is none."""
        group = self._groups.get(name)
        if group is None:
            group = self._groups[name] = ThrottleGroup(name, self.clock)
        return group

    def drop(self, name: str) -> None:
        """Forget a group nobody needs any more."""
        self._groups.pop(name, None)

    def drop_unused(self, group: ThrottleGroup) -> None:
        """Forget a group without members, unless it is an object of its own."""
        if not group.members and not group.is_object:
            self.drop(group.name)
