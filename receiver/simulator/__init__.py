"""A Zoho of our own, as strict as the real one, for demo and tests; it imports nothing else of ours."""

from receiver.simulator.limits import Limits
from receiver.simulator.server import SCOPES, Simulator

__all__ = ["SCOPES", "Limits", "Simulator"]
