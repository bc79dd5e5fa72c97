"""The diffusion prior: network, preconditioning, tiles, sampler, files, and generation without a measurement.

It knows nothing of tomography; `tomopatch.reconstruct` combines it with the projector.
"""
