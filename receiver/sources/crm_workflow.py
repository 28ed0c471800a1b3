"""Webhooks from Zoho CRM's automation: a body of the admin's making, and a static secret as all the proof.

https://github.com/zoho/crm-oas, v8.0/webhooks
"""

from __future__ import annotations

from receiver.sources import crm_words
from receiver.sources.guide import Guide
from receiver.sources.written import Written

GUIDE = Guide(
    title="Zoho CRM, webhooks of workflow rules",
    proof="a secret of yours, in {header}",
    by_event=True,
    screen="""\
1. In Zoho CRM open Setup > Automation > Actions > Webhooks, and configure a webhook.
2. Method POST, and as URL to notify:

       {url}

3. Add {header} with this value:

       {secret}

4. As body choose raw, JSON, and paste this. Choose the merge fields again by typing # there, for each module calls its own
   differently. Id and modified time let Zohook tell a redelivery from another change.

       {
         "record_id": "${{module}.{record} Id}",
         "modified_time": "${{module}.Modified Time}",
         "name": "${{module}.{record} Name}"
       }

5. Make it an action of the workflow rule that means {event}.
""",
    defaults=(("id", "/record_id"), ("time", "/modified_time")),
    ids=("/record_id", "/lead_id"),
    times=("/modified_time",),
)


class CrmWorkflow(Written):
    """One event for each request: rules send one record at a time."""

    guide = GUIDE

    def native(self, word: str) -> str | None:
        """`crm.Deals.updated` for "Deals.edit"."""
        return crm_words.native(word)
