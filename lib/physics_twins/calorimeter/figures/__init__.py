"""Figures of the calorimeter twin."""
