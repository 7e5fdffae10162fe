"""Gauge configurations in the formats that lattice collaborations exchange."""
