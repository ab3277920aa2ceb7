"""An address is what it resolves to: never this machine, never the platform's database."""

import socket
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from agents.connectors.addresses import pin_address
from agents.connectors.definitions import SqlConnector
from agents.connectors.opening import open_connector
from agents.errors import ConnectorInvalid
from domain.addresses import AddressRules, Endpoint, read_endpoints, read_networks
from domain.errors import ErrorCode, TenantryError

LOOPBACK = AddressRules(allowed=(ip_network("127.0.0.0/8"), ip_network("::1/128")))
SPELLINGS = (
    "127.0.0.1",
    "127.1",
    "127.8.9.10",
    "0x7f000001",
    "0x7f.1",
    "2130706433",
    "017700000001",
    "::1",
    "::ffff:127.0.0.1",
    "::ffff:7f00:1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "localhost",
    "LOCALHOST.",
    "localhost.",
    "db.localhost",
    "0.0.0.0",
    "0",
    "::",
)


@pytest.mark.parametrize("host", SPELLINGS)
def test_this_machine_is_refused_by_every_spelling(host):
    with pytest.raises(ConnectorInvalid):
        pin_address(host, 5432, rules=AddressRules())


@pytest.mark.parametrize("host", ["169.254.169.254", "fe80::1", "224.0.0.1", "240.0.0.1"])
def test_addresses_of_no_server_are_refused(host):
    with pytest.raises(ConnectorInvalid):
        pin_address(host, 5432, rules=AddressRules())


def test_the_name_of_this_machine_is_refused_as_well():
    addresses = {each[4][0] for each in socket.getaddrinfo(socket.gethostname(), None)}
    assert addresses
    for host in (socket.gethostname(), *addresses):
        with pytest.raises(ConnectorInvalid):
            pin_address(host, 5432, rules=AddressRules())


@given(st.integers(min_value=0x01000000, max_value=0x7EFFFFFF))
def test_an_address_elsewhere_is_pinned_as_it_is(number):
    address = ip_address(number)
    if address.is_link_local:
        return
    assert pin_address(str(address), None, rules=AddressRules()).address == str(address)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.1", "localhost"])
def test_an_operator_may_allow_this_machine_but_not_the_platforms_own_database(host):
    rules = AddressRules(allowed=LOOPBACK.allowed, refused=(Endpoint("localhost", 5433),))
    assert ip_address(pin_address(host, 5432, rules=rules).address).is_loopback
    for spelling in SPELLINGS:
        with pytest.raises(ConnectorInvalid):
            pin_address(spelling, 5433, rules=rules)


@pytest.mark.parametrize(
    "url",
    [
        "postgresql://u:hunter2@good.example,127.0.0.1/db",
        "postgresql://good.example/db",
        "postgresql://:hunter2@good.example/db",
        "postgresql://u:hunter2@good.example/db?hostaddr=127.0.0.1",
        "postgresql://u:hunter2@good.example/db?service=own",
    ],
)
def test_an_address_that_leaves_something_to_the_surroundings_is_refused(tmp_path, url):
    definition = SqlConnector(kind="sql", url=SecretStr(url))
    connector = open_connector(definition, data_root=tmp_path, read_dataset=lambda _name: None)
    with pytest.raises(TenantryError) as error:
        connector.load("companies")
    assert error.value.code is ErrorCode.CONNECTOR_INVALID
    assert "hunter2" not in error.value.message + error.value.hint


def test_networks_and_servers_are_read_from_settings():
    assert read_networks("127.0.0.1, ::1/128,") == (
        ip_network("127.0.0.1/32"),
        ip_network("::1/128"),
    )
    assert read_endpoints("db.internal:5433, [::1]:6000, ::1, host") == (
        Endpoint("db.internal", 5433),
        Endpoint("::1", 6000),
        Endpoint("::1"),
        Endpoint("host"),
    )
    with pytest.raises(ValueError, match="x"):
        read_networks("x")
