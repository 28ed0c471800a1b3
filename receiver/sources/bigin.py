"""Bigin by Zoho CRM: webhooks of workflow rules, configured as CRM's are.

https://help.zoho.com/portal/en/kb/bigin/automation
"""

from __future__ import annotations

from receiver.sources import crm_words
from receiver.sources.guide import Guide
from receiver.sources.written import Written

GUIDE = Guide(
    title="Bigin",
    proof="a secret of yours, in {header}",
    by_event=True,
    screen="""\
1. In Bigin open Settings > Automation > Webhooks, and make a webhook for the module that {event} is about.
2. Method POST, and as URL to notify:

       {url}

3. Add {header} with this value:

       {secret}

4. Let the body be raw JSON with the record's id as record_id and its modified time as modified_time, which let Zohook tell a
   redelivery from another change.
5. Make it an action of the workflow rule that means {event}.
""",
    defaults=(("id", "/record_id"),),
    ids=("/record_id",),
)


class Bigin(Written):
    """One event for each request."""

    guide = GUIDE

    def native(self, word: str) -> str | None:
        """`bigin.Pipelines.updated` for "Pipelines.edit", as CRM spells its words."""
        return crm_words.native(word, self.prefix)
