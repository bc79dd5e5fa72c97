"""Objects in the beam: attenuation of materials by energy, and inserts."""
