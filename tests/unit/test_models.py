"""The models for handlers read what the sources hand them, and keep what they do not name."""

from __future__ import annotations

import functools
import json
import operator

import pytest
from pydantic import BaseModel

import receiver.models
from receiver.event import Delivery
from receiver.sources import PRODUCTS, samples
from receiver.sources.source import Verified, Way

OF = {
    "billing": ["BillingEvent"],
    "cliq": ["CliqCall"],
    "mail": ["MailMessage", "MailTask"],
    "payments": ["PaymentsEvent"],
    "salesiq": ["SalesIqEvent"],
    "sign": ["SignDelivery"],
}


@pytest.mark.parametrize("product", OF)
def test_a_model_reads_the_data_of_its_events(product: str) -> None:
    """Of every sample, and nothing that the body says is lost."""
    for case in samples.cases(product):
        delivery = Delivery.arrive(product, samples.body(product, case))
        way = Way(product, product, events=("thing.happened",))
        (event,) = PRODUCTS[product].parse(delivery, way, Verified("test")).events
        name = OF[product][-1 if "task" in event.type else 0]
        model: type[BaseModel] = getattr(receiver.models, name)
        read = model.model_validate(event.data)
        assert json.loads(delivery.body).keys() <= read.model_dump().keys()


def test_every_model_is_one_and_has_its_product() -> None:
    """What is listed is there, says what it is, and keeps unknown keys."""
    assert sorted(functools.reduce(operator.iadd, OF.values(), [])) == receiver.models.__all__
    for name in receiver.models.__all__:
        model = getattr(receiver.models, name)
        assert issubclass(model, BaseModel)
        assert model.__doc__
        assert model.model_config["extra"] == "allow"
