"""Parametrised showers: what a formula makes of them, without Geant4 and without a network."""
