"""Strain, segments and triggers in the formats that observatories exchange."""
