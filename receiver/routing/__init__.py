"""Event x handler: who wants what, what a run comes to, and the slips that carry the work."""
