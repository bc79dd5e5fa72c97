"""Tissues: Hounsfield units, coarse and fine texture."""

from __future__ import annotations

from tomopatch.phantoms.scene import Material

GAS = Material(-990)
LUNG = Material(-865, 16, 16)
FAT = Material(-105, 5, 6)
LOOSE_FAT = Material(-85, 14, 8)  # with small vessels and nodes in it
SKIN = Material(25)
MUSCLE = Material(54, 5, 9)
WATER = Material(8, 1, 2)
BLOOD = Material(44, 2, 2)
CONTRAST = Material(190, 4, 4)
HEART = Material(48, 4, 5)
LIVER = Material(60, 3, 5)
SPLEEN = Material(50, 3, 4)
KIDNEY = Material(34, 4, 4)
GUT_WALL = Material(40, 3, 5)
CHYME = Material(22, 10, 10)
STOOL = Material(5, 40, 30)
CARTILAGE = Material(115, 12, 12)
DISC = Material(85, 6, 8)
CORTICAL = Material(880, 30, 40)
TRABECULAR = Material(190, 22, 38)
COMPACT = Material(1250, 30, 40)
NERVE = Material(36, 1, 2)
TUMOUR = Material(40, 8, 6)
