"""Zoho Recruit: webhooks of workflow rules, of the engine that CRM's had once.

https://help.zoho.com/portal/en/kb/recruit/automation/workflow-management
"""

from __future__ import annotations

from receiver.sources import crm_words
from receiver.sources.guide import Guide
from receiver.sources.written import Written

GUIDE = Guide(
    title="Zoho Recruit",
    proof="a secret of yours, in {header}",
    by_event=True,
    screen="""\
1. In Zoho Recruit open Setup > Automation > Webhooks, and configure a webhook for the module that {event} is about.
2. Method POST, and as URL to notify:

       {url}

3. Among the custom parameters add {header} with this value:

       {secret}

4. Append as module parameters the record's id as record_id and its modified time as modified_time, which let Zohook tell a
   redelivery from another change.
5. Make it an action of the workflow rule that means {event}.
""",
    defaults=(("id", "/record_id"), ("secret_header", ""), ("secret_parameter", "token")),
    ids=("/record_id",),
)


class Recruit(Written):
    """One event for each request."""

    methods = frozenset({"POST", "GET"})
    guide = GUIDE

    def native(self, word: str) -> str | None:
        """`recruit.Candidates.updated` for "Candidates.edit", as CRM spells its words."""
        return crm_words.native(word, self.prefix)
