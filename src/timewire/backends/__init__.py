"""Backends: where the ports keep what they are given."""
