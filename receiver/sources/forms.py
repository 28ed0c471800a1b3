"""Zoho Forms: an entry with the fields that were picked, as JSON, as a form, or as multipart with its files.

https://www.zoho.com/forms/help/integrations/webhooks.html
"""

from __future__ import annotations

from receiver.sources.guide import Guide
from receiver.sources.written import Written

GUIDE = Guide(
    title="Zoho Forms",
    proof="a secret of yours, in {header}",
    by_event=True,
    screen="""\
1. In Zoho Forms open the form's Integrations > Webhooks, and configure one. Its URL:

       {url}

2. Content type application/json; choose multipart/form-data where the files of an entry are wanted too.
3. Add {header} with this value among the custom headers:

       {secret}

4. Choose the fields, and give each the name that handlers shall find it under; call a unique id of the entry record_id.
""",
    defaults=(("id", "/record_id"),),
    ids=("/record_id",),
)


class Forms(Written):
    """One event for each entry: `forms.entry.submitted`, or what the URL says where several forms share a source."""

    methods = frozenset({"POST"})
    guide = GUIDE
    unnamed = "entry.submitted"
