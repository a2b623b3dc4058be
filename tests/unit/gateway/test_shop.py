"""The routes of paid editions, as the gateway puts them together."""

from __future__ import annotations

from tests.unit.gateway.doors import Door

SHOP = {
    "/products",
    "/orders",
    "/orders/{order_id}",
    "/orders/{order_id}/payment",
    "/payments/callback",
}


def test_every_route_is_described(door: Door) -> None:
    assert set(door.client.simulate_get("/openapi.json").json["paths"]) >= SHOP
    assert door.client.simulate_get("/products").json == {"results": [], "next": None}


def test_an_order_that_is_not_there_is_a_problem(door: Door) -> None:
    answer = door.get("/orders/5")

    assert (answer.status_code, answer.json["type"]) == (404, "/docs#unknown-order")


def test_a_callback_to_a_site_without_a_provider_is_refused(door: Door) -> None:
    answer = door.client.simulate_post("/payments/callback", body=b"{}")

    assert (answer.status_code, answer.json["type"]) == (403, "/docs#callback-refused")
