"""On the clock: what must happen without a webhook to cause it."""
