"""Measurements of Timewire, with a load generator that costs far less than what it measures.

``python -m bench`` runs them; docs/BENCHMARKS.md says what each one means.
"""
