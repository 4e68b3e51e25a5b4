"""TLS on the server's own port, over real sockets."""

import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import aiohttp
import pytest
import uvloop
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from timewire.auth import mint
from timewire.backends.memory import MemoryStore
from timewire.errors import Unusable
from timewire.testing.devices import raw_device
from timewire.testing.servers import serving

LOOP = uvloop.new_event_loop


def certify(directory: Path, passphrase: bytes = b"") -> dict[str, Any]:
    """A certificate for 127.0.0.1 that is its own authority: the settings that name it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "timewire test")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), x509.random_serial_number())
        .not_valid_before(now - timedelta(hours=1))
        .not_valid_after(now + timedelta(hours=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .sign(key, hashes.SHA256())
    )
    encryption = (
        serialization.BestAvailableEncryption(passphrase)
        if passphrase
        else serialization.NoEncryption()
    )
    pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
    (directory / "cert.pem").write_bytes(certificate.public_bytes(pem))
    (directory / "key.pem").write_bytes(key.private_bytes(pem, pkcs8, encryption))
    return {"tls_cert": str(directory / "cert.pem"), "tls_key": str(directory / "key.pem")}


async def test_devices_and_http_come_over_tls_and_over_nothing_else(tmp_path: Path) -> None:
    settings = certify(tmp_path)
    async with serving(tmp_path / "data", MemoryStore(), **settings) as server:
        assert server.url.startswith("https://127.0.0.1:")
        trust = ssl.create_default_context(cafile=settings["tls_cert"])
        async with raw_device(server.url, ssl=trust) as device:
            await device.hello(mint(server.keys.secret, "alice"), "phone")
            await device.until("live")
            ack = await device.ask("send", id="1", to="self:alice", body={"text": "x" * 20_000})
            assert ack["type"] == "ack"
        async with aiohttp.ClientSession() as http:
            async with http.get(server.url + "/healthz", ssl=trust) as answer:
                assert answer.status == 200
                assert answer.headers["Strict-Transport-Security"] == "max-age=31536000"
            with pytest.raises(aiohttp.ClientError):
                await http.get(server.url.replace("https", "http") + "/healthz")
            with pytest.raises(aiohttp.ClientConnectorCertificateError):
                await http.get(server.url + "/healthz")


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
async def test_old_tls_is_refused(tmp_path: Path) -> None:
    settings = certify(tmp_path)
    async with serving(tmp_path / "data", MemoryStore(), **settings) as server:
        old = ssl.create_default_context(cafile=settings["tls_cert"])
        old.set_ciphers("DEFAULT:@SECLEVEL=0")
        old.minimum_version, old.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
        async with aiohttp.ClientSession() as http:
            with pytest.raises(aiohttp.ClientConnectorError):
                await http.get(server.url + "/healthz", ssl=old)


@pytest.mark.parametrize("wrong", ["no key", "no file", "passphrase", "another key", "garbage"])
async def test_what_cannot_be_used_stops_the_start(tmp_path: Path, wrong: str) -> None:
    settings = certify(tmp_path, b"secret" if wrong == "passphrase" else b"")
    match wrong:
        case "no key":
            settings["tls_key"] = ""
        case "no file":
            settings["tls_cert"] += ".none"
        case "another key":
            (tmp_path / "other").mkdir()
            settings["tls_key"] = certify(tmp_path / "other")["tls_key"]
        case "garbage":
            Path(settings["tls_cert"]).write_text("garbage")
    with pytest.raises(Unusable) as caught:
        async with serving(tmp_path / "data", MemoryStore(), **settings):
            pass
    assert caught.value.code == "bad_config"
