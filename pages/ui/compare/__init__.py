"""Parts of Compare: pictures, metrics, analyses, gallery and downloads."""
