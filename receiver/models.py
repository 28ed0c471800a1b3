"""Models of the bodies that Zoho documents, for `@on(..., model=...)`: what `event.data` of those products is read into.

What a model does not name is kept (`event.data.model_extra`); ids are texts, times milliseconds.
"""

from receiver.sources.billing import BillingEvent
from receiver.sources.cliq import CliqCall
from receiver.sources.mail import MailMessage, MailTask
from receiver.sources.payments import PaymentsEvent
from receiver.sources.salesiq import SalesIqEvent
from receiver.sources.sign import SignDelivery

__all__ = [
    "BillingEvent",
    "CliqCall",
    "MailMessage",
    "MailTask",
    "PaymentsEvent",
    "SalesIqEvent",
    "SignDelivery",
]
