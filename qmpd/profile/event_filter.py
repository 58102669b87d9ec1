"""Which events clients are to see, and what of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qmpd.loop.events import EventRecord, Filter
    from qmpd.profile.profile import Profile
    from qmpd.qapi.runtime.policy import CompatPolicy


def shown_events(profile: Profile, policy: CompatPolicy) -> Filter | None:
    """What clients see of events; None where they see all.

    The compat policy hides some (`qapi_event_send_*`), and others are not those of the version.
    """
    if not policy.restricts_output and not profile.trims_output:
        return None
    from qmpd.qapi.runtime.hiding import shown

    def shown_event(event: EventRecord) -> EventRecord | None:
        info = profile.entry_points.events.get(event.name)
        if info is None:
            return None if profile.trims_output else event
        if policy.hides_event(info):
            return None
        if info.arguments is None or event.data is None:
            return event
        complete = profile.rules.complete if profile.trims_output else None
        data = shown(policy, profile.types, info.arguments, event.data, complete)
        return event._replace(data=data)

    return shown_event
