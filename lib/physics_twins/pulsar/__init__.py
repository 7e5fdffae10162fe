"""The pulsar twin: dispersed pulses seen by a radio telescope, with noise and interference."""
