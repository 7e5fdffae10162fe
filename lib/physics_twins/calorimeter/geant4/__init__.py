"""Geant4 inside Python: its data, a sampling calorimeter, events, and what cells see of them."""
