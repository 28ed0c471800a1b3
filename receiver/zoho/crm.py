"""CRM, version 8: https://www.zoho.com/crm/developer/docs/api/v8/. Reads and writes of records stand in files of their own."""

from __future__ import annotations

from functools import cached_property
from typing import TYPE_CHECKING, Literal

from receiver.zoho.crm_actions import Actions, Tags
from receiver.zoho.crm_ensure import Records

if TYPE_CHECKING:
    from receiver.zoho.crm_attachments import Attachments
    from receiver.zoho.crm_bulk import Bulk
    from receiver.zoho.crm_watch import Channels


class CRM(Records, Actions):
    """CRM's records and notes; what there is more of has a name of its own: channels, attachments, bulk, tags."""

    @cached_property
    def attachments(self) -> Attachments:
        """Files that hang on records."""
        from receiver.zoho.crm_attachments import Attachments  # noqa: PLC0415 - loaded when it is used

        return Attachments(self, self._zoho)

    @cached_property
    def bulk(self) -> Bulk:
        """Bulk read and bulk write: hundreds of thousands of rows in one job."""
        from receiver.zoho.crm_bulk import Bulk  # noqa: PLC0415 - loaded when it is used

        return Bulk(self._zoho)

    @cached_property
    def tags(self) -> Tags:
        """Tags of records."""
        return Tags(self._zoho)

    @cached_property
    def channels(self) -> Channels:
        """Notification channels (`/actions/watch`)."""
        from receiver.zoho.crm_watch import Channels  # noqa: PLC0415 - loaded when it is used

        return Channels(self._zoho)

    def bulk_callback(self, kind: Literal["read", "write"]) -> dict[str, str]:
        """What a bulk job's `callback` says, for its end to become `crm.BulkRead.completed` or the like.

        Raises SettingsError with the cure where no source takes callbacks.
        """
        from receiver.zoho.crm_callback import callback  # noqa: PLC0415 - loaded when it is used

        return callback(self._zoho, kind)
