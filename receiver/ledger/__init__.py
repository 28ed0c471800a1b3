"""The record of deliveries, events, jobs and attempts: the truth that RQ only carries slips of."""
