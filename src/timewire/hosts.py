"""What the name or the address of a host says of where it is."""

import ipaddress


def is_loopback(host: str) -> bool:
    """Whether it surely means this machine, and no other can reach it."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
