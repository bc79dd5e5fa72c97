"""From line integrals to a measurement: photon noise and dose."""
