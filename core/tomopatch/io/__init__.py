"""Readers and writers: DICOM, NIfTI, and files written safely."""
