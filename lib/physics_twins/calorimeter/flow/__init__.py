"""An autoregressive flow of showers: all energy first, then layers, then their cells."""
