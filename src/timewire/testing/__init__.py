"""What tests need, shipped so that others can test their own backends and applications with it.

Needs ``pytest``, ``pytest-asyncio`` and ``hypothesis``.
"""
