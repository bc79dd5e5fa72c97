"""Tuned constants of reconstruction with a diffusion prior.

Each comment states the data of the fit and, where it was measured, how flat the optimum is. Noise
levels and errors are in network units (1000 HU). Validation volumes are `popi_4dct_phase00`, `lidc_idri_0293`
and `lung_petct_dx_a0001`.

The fitted coefficients of the expected error are next to their formula, in `expected_error`.
The noise levels of generation, without a measurement, are in `tomopatch.prior.generation`.
"""

# ---- the initial reconstruction ---------------------------------------------------------------------------

TV_WEIGHT, TV_RATIO = 2.6e-4, 0.1
"""Weight of total variation, relative to water, at this sampling ratio. It is near the best weight from 8 to
60 views on a held-out chest CT (`popi_4dct_phase00`).
"""

LEAST_SQUARES_ITERATIONS = 10
"""Conjugate-gradient iterations of the least-squares image. Conditional priors were trained on such images: a
change needs a new training. Sensitivity not measured.
"""

INITIAL_ITERATIONS = 300
"""Most iterations of the initial reconstruction on each grid; total variation stops when it has converged."""

COARSEST = 160
"""Grids with more voxels across are reconstructed coarse to fine.

From the first version; sensitivity not measured.
"""

FINE_SHARE = 3
"""On such grids the initial reconstruction takes at most 1 / FINE_SHARE of these iterations.

It starts from the coarser result.
"""

MISSING_RANGE = 0.9
"""Below this share of half a turn angles count as missing, and half the resolution is reconstructed first,
because the missing structures are large. On `popi_4dct_phase00` with 60 views over 90 degrees total variation
has 24.4 dB; started from the half resolution by `small` it has 27.6. For few views it does not pay: +0.05 dB
with 8 views of `popi_4dct_phase00` in 1.7 times the time.
"""

LEAST_SQUARES_VIEWS = 12
"""With fewer views a prior without a condition does not get the least-squares image: with 8 views the image
costs `base` 0.26 dB on `popi_4dct_phase00`. Conditional priors are trained on such images.
"""

# ---- restoration: a few deterministic passes from the initial reconstruction ------------------------------

RESTORE_STEPS = 4
"""Passes. Three cost 0.02 dB (`small`) and 0.05 dB (`base`) on average, and a quarter less time."""

RESTORE_RHO = 3.0
RESTORE_SPAN = 10.0
"""Karras exponent; first over last noise level. Mean gain over total variation of nine scans of 7 training
volumes (8 to 60 views, parallel and cone, 1e4 photons to none, 32 x 96 x 96), `base` / `small`: 2.16 / 1.52
dB with a span of 5, 2.29 / 1.58 with 10; with RESTORED_ERROR, 2.46 / 1.71 with 10 and 2.45 / 1.71 with 16.
"""

RESTORED_ERROR = 0.5
"""Expected error of a restored estimate over its noise level, in data consistency. The level is WIDER times
the expected error of the initial reconstruction. On the scans above: 2.29 / 1.58 dB with 1, 2.46 / 1.71 with
0.5. Scans with noise or many views gain most (up to 0.8 dB), noise-free scans with 8 or 20 views nothing.
"""

WIDER = 3.5
"""Restoration starts at this multiple of the initial reconstruction's expected error, so that the prior can
change more than the error itself. Chosen on `popi_4dct_phase00` in the first version. Less (0.25 to 0.4
times) costs 0.4 to 0.8 dB, 1.5 times as much 0.1 dB.
Present weights of `small`, eight scans of six training volumes, 32 x 96 x 96: 2.04, 2.02, 1.88, 1.54 dB with
1, 0.75, 0.55 and 0.4 times the level.
"""

RESTORE_CG = 6
"""Conjugate-gradient iterations per pass. From the first version; sensitivity not measured."""

# ---- posterior sampling: from noise -----------------------------------------------------------------------

POSTERIOR_STEPS = 20
POSTERIOR_SIGMA_MAX, POSTERIOR_SIGMA_MIN, POSTERIOR_RHO = 3.0, 0.01, 5.0
"""Karras noise levels. At sigma 3 a volume is pure noise: the data's deviation is 0.5. One sample of `small`
in 10 steps, 20 views of `popi_4dct_phase00` and of `lung_petct_dx_a0001`: 35.18 and 31.14 dB; from sigma 1
35.12 and 31.15; with rho 8 35.16 and 31.15.
"""

UNCONDITIONAL_STEPS, UNCONDITIONAL_SIGMA_MAX = 40, 10.0
"""Steps and first noise level without a condition: the large structures have to form from the measurement
alone. Not fitted.
"""

STREAKS, MOST_STREAKS = 2.0, 0.3
"""Expected RMS of the streaks in a sample without a condition, relative to its white noise, and its limit.
Fitted on `tcga_ov_2043` and `lidc_idri_0314`, 32 x 96 x 96, 20 views, `small` and `base`: 1 dB better than
with the level of the white noise alone. STREAKS of 1 and 3 and limits of 0.2 and 0.4 differ by at most
0.35 dB.
"""

CG_TOLERANCE, MAX_CG = 1e-2, 30
"""Data consistency of posterior sampling ends at this share of the first residual of the normal equations,
or after MAX_CG iterations. Not fitted.
"""

POSTERIOR_MISMATCH = 0.004
"""Standard deviation of the discretisation error of a line integral, relative to the mean line integral, in
posterior sampling. Measured on `popi_4dct_phase00`, 64 x 128 x 128, 20 views, it is 0.0075. Mean gain of one
sample of `small` in 8 steps over five scans of training volumes (32 x 96 x 96, 8 to 30 views, three of them
without noise): 1.73 dB with 0.0075, 1.80 with 0.004 and with 0.002.
"""

# ---- progress ---------------------------------------------------------------------------------------------

PASS_COST, PASS_COST_PER_MILLION = 38.0, 3.2
"""Cost of a pass in iterations of total variation with 20 views, and its increase per million weights: 54 for
`small`, 125 for `base`, estimated from 23 and 55 ms per tile on two cores with bfloat16. It only affects the
progress bar.
"""

PREPARATION_COST = 25
"""Cost of the images and figures of a scan before the first pass, in iterations of total variation. Measured
once each on thorax phantoms of 64 x 96 x 96 and 32 x 192 x 192. As the constants below, it only affects the
progress bar.
"""

JUDGE_COST = 0.3
"""Cost of judging the first step of a sample, in passes. Measured as the costs above: 0.15 and 0.5."""

KNOWN_COST, KNOWN_SHARE = 0.1, 0.6
"""Cost of a step that reuses the restored condition, in passes, and the share of such steps before it is
known. Thorax phantom, 20 steps: 0.08 and 0.85 with 20 views over 180 degrees, 0.4 and 0.35 with 40 views over
120 degrees. Once steps of a kind have been timed, their time counts instead.
"""

# ---- objects unlike the training data ---------------------------------------------------------------------

FLAT_FRACTION, FLAT_SHARE = 0.25, 0.1
"""Above this fraction of flat voxels the object counts as piecewise constant, and restoration starts at this
share of the usual noise level: total variation describes such objects better than the prior. Held-out CT
volumes have 5 to 14 %, test objects 37 % and more. The share was best on the random geometric phantoms 1, 3
and 5; 0.03 and 0.3 differ by less than 0.1 dB.
"""

PULLED_BACK, REJECTED = 0.78, 0.87
"""Share of the prior's first change that data consistency takes back, |corrected - denoised| / |denoised -
initial|. Up to the first value restoration proceeds as planned. From the second on it starts at the least
share of the usual noise level (below); in between the share falls linearly. Posterior sampling uses its
square. Objects that `base` degrades have 0.86 to 1.1 (random geometric phantoms 1 and 2, spheres). `small`
has 0.87 for random geometric phantom 1 at 1e5 photons, which loses 0.16 dB at three fifths of the level and
0.02 dB at two fifths.
"""

FINER_RATIO, FINER_LIMITS = 2.0, (0.6, 0.78)
"""These limits replace PULLED_BACK and REJECTED, and the least share is LEAST_SHARE, if a voxel is this many
times smaller than the nearest size in the trained range. The head phantom declared as voxels of 0.02 and 0.3
mm has 0.80 and 0.79 with `base` and lost 0.20 and 0.66 dB. Larger voxels harm nothing: 4 and 20 mm gained
0.48 and 0.08 dB.
"""

LITTLE_CHANGE = (0.0175, 0.0185)
"""A first pass that changes the initial reconstruction by less than the first value (RMS over the volume,
after data consistency) is no evidence of an error: the prior changes an image without errors as much. Then
DOUBTFUL_LIMITS replace PULLED_BACK and REJECTED, and the least share is LEAST_SHARE; between the two values
both change linearly. Measured at the usual level on 15 scans of ten training volumes and on 51 scans of
phantoms (24 x 80 x 80 and 32 x 96 x 96) by `small` and `base`. Most phantoms that lost 0.2 to 8 dB, scanned
on the grid itself, were changed by up to 0.0174. Not found are random geometric phantoms 9 and 10 at 1e5
photons with `base` (0.0189 to 0.0203, -1.5 to -4 dB) and 15 with `small` (0.0189, -2.6 dB). Limits of 0.0205
and 0.0225 find those of `base`, but would cost the thorax phantom with 20 views its 1.2 dB (0.0195); 0.019
and 0.02 find that of `small`, but cost 20 views of `popi_4dct_phase00` and of `tcga_ov_2043` 0.8 and 1.0 dB.
Training volumes that gained were changed by 0.0192 and more, except for 120 views of `tcga_ov_2043` (0.011),
which now gain little, and 180 views of `pancreatic_ctcb_001`.
"""

DOUBTFUL_LIMITS = (0.7, 0.71)
"""On the same scans: of the little changes that did harm, data consistency took back 0.71 and more; with 180
views of `pancreatic_ctcb_001`, which gained 1.6 dB, 0.699.
"""

FLAT_DOUBT, LEAST_SHARE = 0.11, 0.0005
"""Above this fraction of flat voxels an object may be piecewise constant, and the least share is LEAST_SHARE.
With 0.03, `base` still cost spheres 0.17 dB, with 0.003 three of twelve phantoms 0.10 to 0.12 dB. Measured on
restorations at the usual level by `small` (96) and `base` (34): 4 to 180 views, with and without noise, two
training volumes, whole and cropped to the body, phantoms, micro-CT volumes, voxels of 0.02 to 20 mm. Objects
below it gained -0.03 to +4.2 dB. Objects that lost more had a fraction of 0.12 (-0.16 dB), 0.14 (-0.4 and
-0.7) and 0.38 (-1.3). Training volumes have up to 0.106, once 0.12.
"""

LEAST_TEXTURED = 0.8
"""Least share for other objects. Of seven scans of four training volumes (48 x 96 x 96, `small`; cropped to
the body, 20 and 30 views, or whole, 40 and 60 views), mean gain over total variation with a share of 1, 0.6,
0.4, 0.25, 0.1: 0.70, 0.87, 0.90, 0.77, 0.35 dB. One sample in 8 steps on two of them and on phantoms is best
at 0.3 to 0.5 of the level. A thorax phantom whose scan was simulated on the grid itself: -0.55 dB with 1,
-0.21 dB with 0.15. These were weights trained on patches alone. With the present ones, and two more scans,
`small` gains 1.14, 1.12, 1.08 and 1.00 dB with 1, 0.8, 0.6 and 0.4, `base` 2.10, 2.11 and 2.11 dB with 1, 0.8
and 0.4. The abdomen phantom, which loses 0.49 dB with 0.8 and 0.08 dB with 0.4, is found by LITTLE_CHANGE.
"""

FLAT_SLOPE = 0.125e-3
"""A voxel is flat below this slope, network units per mm: an eighth of a Hounsfield unit per millimetre."""

FLAT_RIPPLE, FLAT_VOXELS = 0.01, 2**20
"""Strength of the smoothing before flat voxels are counted, network units, and most voxels looked at.
With it, total variation stopped at its tolerance has the flat fraction of 150 iterations without it: 0.26
(0.18) for Shepp-Logan, 0.41 (0.31) for random geometric phantom 2, 0.07 (0.07) for the thorax phantom.
"""
