"""Five handlers worth having, on in the demo. Copy one into your own `handlers/` and make it yours: one behaviour, one module.

`ON` lists the modules that are on; without it all of them are.
"""

ON = (
    "won_deal",
    "paid_invoice",
    "new_lead",
    "new_ticket",
    "mirror",
)
