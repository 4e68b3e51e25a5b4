"""TLS on the server's own port, for those who put no proxy in front."""

from __future__ import annotations

import ssl

from timewire.config import Config
from timewire.errors import error


def context(config: Config) -> ssl.SSLContext | None:
    """What connections are encrypted with; None: they are not.

    Raises ``Unusable`` (bad_config) when certificate and key cannot be used together.
    """
    if not config.tls_cert and not config.tls_key:
        return None
    if not config.tls_cert or not config.tls_key:
        raise error("bad_config", "tls_cert and tls_key go together", key="tls_cert")
    made = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    made.minimum_version = ssl.TLSVersion.TLSv1_2
    # A key with a passphrase would have it asked for on the terminal: refuse it.
    try:
        made.load_cert_chain(config.tls_cert, config.tls_key, password=b"")
    except (OSError, ValueError) as problem:
        message = f"the certificate in {config.tls_cert} cannot be used: {problem}"
        raise error("bad_config", message, key="tls_cert") from None
    return made


def url(config: Config, host: str, port: int) -> str:
    """Where a server is that listens there."""
    scheme = "https" if config.tls_cert else "http"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"
