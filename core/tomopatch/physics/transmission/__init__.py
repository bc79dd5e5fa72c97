"""From rays to intensities: polychromatic attenuation and scattered radiation."""
