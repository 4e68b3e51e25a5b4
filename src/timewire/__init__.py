"""Timewire: message sync and storage for instant messaging."""
