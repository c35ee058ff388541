"""Requests that a page of another site could make a browser send are refused."""

import pytest

from tmrl_ros.console.access import Access, new_token

TOKEN = new_token()
LOCAL = Access(TOKEN, "127.0.0.1", 8137)


@pytest.mark.parametrize("host", ["127.0.0.1:8137", "localhost:8137", "[::1]:8137"])
def test_our_own_names_are_let_in(host):
    assert LOCAL.refusal({"Host": host}) == ""
    assert LOCAL.refusal({"Host": host, "Origin": f"http://{host}"}) == ""


@pytest.mark.parametrize(
    "host",
    ["evil.example:8137", "127.0.0.1:80", "127.0.0.1", "192.168.1.7:8137", "", ":8137"]
    + ["127.0.0.1.evil.example:8137", "localhost:8137:8137"],
)
def test_a_name_that_somebody_pointed_here_is_refused(host):
    assert "not called" in LOCAL.refusal({"Host": host})


@pytest.mark.parametrize(
    "origin",
    ["http://evil.example", "null", "https://127.0.0.1:8137", "http://127.0.0.1:80"]
    + ["http://localhost:8137"],
)
def test_a_page_from_elsewhere_is_refused(origin):
    assert "own page" in LOCAL.refusal({"Host": "127.0.0.1:8137", "Origin": origin})


def test_what_the_browser_calls_cross_site_is_refused():
    headers = {"Host": "127.0.0.1:8137", "Sec-Fetch-Site": "cross-site"}
    assert "another site" in LOCAL.refusal(headers)
    assert LOCAL.refusal({**headers, "Sec-Fetch-Site": "same-origin"}) == ""


def test_on_every_interface_only_bare_addresses_are_ours():
    everywhere = Access(TOKEN, "0.0.0.0", 8137)
    assert everywhere.refusal({"Host": "192.168.1.7:8137"}) == ""
    assert everywhere.refusal({"Host": "evil.example:8137"})


def test_a_configured_address_is_ours():
    assert Access(TOKEN, "192.168.1.7", 8137).refusal({"Host": "192.168.1.7:8137"}) == ""
    assert Access(TOKEN, "192.168.1.7", 8137).refusal({"Host": "192.168.1.8:8137"})


def test_only_the_whole_token_is_known():
    assert LOCAL.knows(TOKEN)
    for wrong in ("", TOKEN[:-1], TOKEN + "x", TOKEN.swapcase(), "ä"):
        assert not LOCAL.knows(wrong)


def test_tokens_are_long_and_differ():
    assert len(TOKEN) >= 32
    assert len({new_token() for _ in range(100)}) == 100
