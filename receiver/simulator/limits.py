"""Zoho's limits as one set of numbers, and the counters that hold a caller to them."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

TEN_MINUTES = 600.0


@dataclass(slots=True)
class Limits:
    """Every number may be changed while the simulator runs; times are in seconds."""

    # Accounts
    code_life: float = 60.0
    access_life: int = 3600
    access_per_window: int = 10
    access_live: int = 15
    refresh_live: int = 20
    refresh_per_window: int = 10
    codes_per_window: int = 10
    token_window: float = TEN_MINUTES
    throttle_status: int = 200
    token_delay: float = 0.0
    device_life: float = 300.0
    device_pace: float = 30.0
    # CRM
    api_delay: float = 0.0
    crm_credits: int = 50_000
    crm_concurrency: int = 20
    crm_heavy_concurrency: int = 10
    crm_search_lag: float = 1.0
    crm_rows_by_page: int = 2_000
    crm_rows_by_token: int = 100_000
    crm_page_token_life: float = 86_400.0
    channel_default: float = 3_600.0
    channel_longest: float = 604_800.0
    channel_token_length: int = 50
    bulk_rows: int = 200_000
    bulk_by_hand: bool = False
    # Books
    books_per_minute: int = 100
    books_minute: float = 60.0
    books_block: float = 60.0
    books_per_day: int = 10_000
    books_concurrency: int = 10
    # Desk
    desk_credits: int = 100_000
    desk_concurrency: int = 25
    desk_webhooks: int = 20
    desk_webhooks_enabled: int = 10
    # Deliveries
    delivery_deadline: float = 5.0
    delivery_queue: int = 20_000
    delivery_threads: int = 8


class Window:
    """A sum over the last `span` seconds."""

    def __init__(self, span: float) -> None:
        self.span = span
        self._marks: deque[tuple[float, int]] = deque()
        self._sum = 0

    def add(self, now: float, cost: int = 1) -> None:
        self._marks.append((now, cost))
        self._sum += cost

    def used(self, now: float) -> int:
        while self._marks and self._marks[0][0] <= now - self.span:
            self._sum -= self._marks.popleft()[1]
        return self._sum

    def clear(self) -> None:
        self._marks.clear()
        self._sum = 0


class Gate:
    """Counts calls in progress; Zoho limits those, not the calls per second."""

    def __init__(self) -> None:
        self.inside = 0
        self.highest = 0

    def enter(self, most: int) -> bool:
        if self.inside >= most:
            return False
        self.inside += 1
        self.highest = max(self.highest, self.inside)
        return True

    def leave(self) -> None:
        self.inside -= 1
