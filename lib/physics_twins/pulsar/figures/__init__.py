"""Figures of the pulsar twin."""
