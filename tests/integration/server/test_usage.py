"""What the fleet takes, over REST."""

import httpx
import pytest

from .conftest import Hands


@pytest.mark.requirement("B10")
async def test_network_and_storage_are_told_and_no_saving_is_made_up(client: httpx.AsyncClient, hands: Hands) -> None:
    found = (await client.get("/api/usage")).json()
    assert found["network"]["received"] > 0 and found["network"]["sent"] > 0
    assert found["storage"]["records"] > 0 and found["disk"]["free"] > 0
    assert found["savings"] == {"usd_per_hour": None, "active": []}
    again = (await client.get("/api/usage")).json()
    assert again["network"]["sent"] > found["network"]["sent"]
