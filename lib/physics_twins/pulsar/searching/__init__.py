"""From spectra to candidates: cleaned, dedispersed, searched for pulses and for periods."""
