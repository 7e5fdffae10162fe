"""The parts of an observation, each by its physics: pulsar, medium, interference, receiver."""
