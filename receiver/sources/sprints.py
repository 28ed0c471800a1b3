"""Zoho Sprints: webhooks of a module's events, with the parameters that an admin picks.

https://help.zoho.com/portal/en/kb/zoho-sprints/automation/webhooks/articles/about-webhooks
"""

from __future__ import annotations

from receiver.sources.guide import Guide
from receiver.sources.written import Written

GUIDE = Guide(
    title="Zoho Sprints",
    proof="a secret of yours, in {header}",
    by_event=True,
    screen="""\
1. In Zoho Sprints open Settings > Automation > Webhooks, and make a webhook for the module and the trigger that mean {event}.
2. Method POST, and as URL:

       {url}

3. As a header parameter add {header} with this value:

       {secret}

4. Append the id of the item, sprint or project as an entity parameter with the name record_id.
""",
    defaults=(("id", "/record_id"),),
    ids=("/record_id",),
)


class Sprints(Written):
    """One event for each request."""

    guide = GUIDE
