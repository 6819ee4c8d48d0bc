"""The programs of a domain are given the domain's own token and certificate, and nobody else's."""

import base64
import json
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import grpc.aio
import pytest
import pytest_asyncio
from cryptography import x509
from cryptography.x509.oid import NameOID

from kusciajob._gen.kuscia.proto.api.v1alpha1.kusciaapi import job_pb2 as pb
from kusciajob.security.tokens import domain_file
from tests.support.images import write_image
from tests.support.requests import create, ended, job_request, task_request
from tests.support.secured import Place, secured_server, token_in, with_token

pytestmark = pytest.mark.asyncio(loop_scope="module")

REPORT = """\
{"ca": "{{.TRUSTED_CA_FILE}}", "client": ["{{.CLIENT_CERT_FILE}}", "{{.CLIENT_PRIVATE_KEY_FILE}}"],
 "server": ["{{.SERVER_CERT_FILE}}", "{{.SERVER_PRIVATE_KEY_FILE}}"], "protocol": "{{.KUSCIA_API_PROTOCOL}}",
 "token": "{{.KUSCIA_API_TOKEN}}", "key": "{{.KUSCIA_DOMAIN_KEY_DATA}}"}
"""
SCRIPT = (
    'cp report.json "$KUSCIAJOB_DOMAIN_DIR" && cat ./kuscia/certs/ca.crt "$CLIENT_CERT_FILE" "$SERVER_PRIVATE_KEY_FILE"'
)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def place(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Place]:
    directory = tmp_path_factory.mktemp("credentials")
    write_image(directory / "images", "report", ["sh", "-c", SCRIPT])
    file = directory / "images" / "report.yaml"
    document = json.loads(file.read_text())
    document["spec"]["configTemplates"]["report.json"] = REPORT
    (container,) = document["spec"]["deployTemplates"][0]["spec"]["containers"]
    container["configVolumeMounts"] = [{"mountPath": "/work/report.json", "subPath": "report.json"}]
    file.write_text(json.dumps(document))
    settings = {"runtime": "process", "app_image_dir": directory / "images", "domains_dir": directory / "domains"}
    async with secured_server(directory, **settings) as place:
        yield place


async def run(place: Place, job_id: str, domains: list[str]) -> pb.JobStatusDetail:
    async with place.master.channel(place.server.address) as channel:
        stub = with_token(channel, token_in(place.certs / "token"))
        await create(stub, job_request(job_id, task_request("t", "report", domains)))
        return await ended(stub, job_id)


async def test_each_domain_has_its_own(place: Place, tmp_path: Path) -> None:
    status = await run(place, "own", ["alice", "bob"])
    assert status.state == "Succeeded", status.err_msg
    master = token_in(place.certs / "token")
    for domain in ("alice", "bob"):
        text = (place.server.data_dir.parent / "domains" / domain / "report.json").read_text()
        report = json.loads(text)
        assert report["protocol"] == "MTLS"
        assert report["token"] == token_in(domain_file(place.certs, domain))
        assert master not in text
        assert base64.b64decode(report["key"]) == (place.certs / "domains" / f"{domain}.key").read_bytes()
        assert base64.b64decode(report["key"]).startswith(b"-----BEGIN RSA PRIVATE KEY-----")
        assert Path(report["ca"]).read_bytes() == (place.certs / "ca.crt").read_bytes()
        for certificate, key in (report["client"], report["server"]):
            ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(certificate, key)
            (name,) = x509.load_pem_x509_certificate(Path(certificate).read_bytes()).subject.get_attributes_for_oid(
                NameOID.COMMON_NAME
            )
            assert name.value == domain
            assert Path(key).stat().st_mode & 0o077 == 0
        credentials = grpc.ssl_channel_credentials(
            Path(report["ca"]).read_bytes(),
            Path(report["client"][1]).read_bytes(),
            Path(report["client"][0]).read_bytes(),
        )
        async with grpc.aio.secure_channel(place.server.address, credentials) as channel:
            answer = await with_token(channel, report["token"]).QueryJob(pb.QueryJobRequest(job_id="own"))
            assert answer.status.code == 0


async def test_a_domain_without_files_is_warned_and_gets_no_others(place: Place) -> None:
    status = await run(place, "without", ["dave"])
    assert status.state == "Failed"  # cat without a file name
    report = json.loads((place.server.data_dir.parent / "domains" / "dave" / "report.json").read_text())
    assert (report["token"], report["client"], report["key"]) == ("", ["", ""], "")
    assert Path(report["ca"]).name == "ca.crt"
    assert "nothing is known of {{.CLIENT_CERT_FILE}} (report.json, line 1)" in status.err_msg


async def test_a_domain_too_long_for_a_file_name_runs_without(place: Place) -> None:
    domain = "\u4e2d" * 40
    status = await run(place, "long", [domain])
    assert "exit code 1" in status.err_msg  # cat without a file name
    assert "{{.KUSCIA_API_TOKEN}} (report.json, line 3)" in status.err_msg
