"""The calorimeter twin: electromagnetic showers in layers of absorber and sensor."""
