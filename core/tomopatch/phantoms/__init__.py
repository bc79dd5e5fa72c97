"""Built-in phantoms: analytic scenes, anatomy, geometric test objects, and lesions."""

from tomopatch.phantoms.catalogue import PHANTOMS, phantom

__all__ = ["PHANTOMS", "phantom"]
