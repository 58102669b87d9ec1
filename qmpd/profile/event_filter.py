"""Which events clients are to see, and what of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmpd.loop.events import EventRecord, Filter
    from qmpd.profile.profile import Profile
    from qmpd.qapi.runtime.policy import CompatPolicy


def shown_events(profile: Profile, policy: CompatPolicy) -> Filter | None:
    """What the compat policy shows of events (`qapi_event_send_*`); None where it shows all."""
    if not policy.restricts_output:
        return None
    from qmpd.qapi.runtime.hiding import hide_output

    def shown(event: EventRecord) -> EventRecord | None:
        info = profile.entry_points.events.get(event.name)
        if info is None:
            return event
        if policy.hides_event(info):
            return None
        if info.arguments is None or event.data is None:
            return event
        data = hide_output(policy, profile.types, info.arguments, event.data)
        return event._replace(data=data)

    return shown
