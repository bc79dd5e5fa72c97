"""Methods without training: filtered backprojection, least squares, total variation, and their grids."""
