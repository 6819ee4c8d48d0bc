"""TASK_CLUSTER_DEFINE and ALLOCATED_PORTS: exactly the JSON that Kuscia's programs parse."""

import json

import pytest

from kusciajob.model.cluster import (
    AllocatedPort,
    ClusterParty,
    Service,
    allocated_ports,
    cluster_define,
    port_variable,
)

ALICE = ClusterParty("alice", "host", (Service("spu", ("127.0.0.1:20001",)), Service("fed", ("127.0.0.1:20002",))))
BOB = ClusterParty("bob", "", ())


def test_cluster_define_has_the_fields_of_the_contract_with_defaults_written_out() -> None:
    assert cluster_define([ALICE, BOB], self_party=0) == (
        '{"parties":[{"name":"alice","role":"host","services":['
        '{"portName":"spu","endpoints":["127.0.0.1:20001"]},{"portName":"fed","endpoints":["127.0.0.1:20002"]}]},'
        '{"name":"bob","role":"","services":[]}],"selfPartyIdx":0,"selfEndpointIdx":0}'
    )


def test_each_party_finds_itself() -> None:
    define = json.loads(cluster_define([ALICE, BOB], self_party=1))
    assert define["parties"][define["selfPartyIdx"]]["name"] == "bob"


@pytest.mark.parametrize("index", [-1, 2])
def test_a_party_that_is_not_listed_is_refused(index: int) -> None:
    with pytest.raises(IndexError, match="not the index of one of 2 parties"):
        cluster_define([ALICE, BOB], self_party=index)


def test_allocated_ports() -> None:
    ports = [AllocatedPort("spu", 20001, "Cluster", "GRPC"), AllocatedPort("node-manager", 20002, "Local", "HTTP")]
    assert allocated_ports(ports) == (
        '{"ports":[{"name":"spu","port":20001,"scope":"Cluster","protocol":"GRPC"},'
        '{"name":"node-manager","port":20002,"scope":"Local","protocol":"HTTP"}]}'
    )
    assert allocated_ports([]) == '{"ports":[]}'


def test_port_variable() -> None:
    assert port_variable("client-server") == "KUSCIA_PORT_CLIENT_SERVER_NUMBER"
