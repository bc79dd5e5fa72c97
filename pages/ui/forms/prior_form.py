"""Form of Prior: generate a volume, or denoise one with or without some of the prior's inputs."""

from __future__ import annotations

import streamlit as st

from pages.ui.session import engine, state, volume_cache
from pages.ui.texts import formatting, labels
from tomopatch.runs.prior import INPUTS, DenoiseConfig, GenerateConfig
from tomopatch.volume import Shape

KINDS = {"generate": "Generate", "denoise": "Denoise"}
GRIDS: tuple[Shape, ...] = ((32, 64, 64), (48, 96, 96), (64, 128, 128), (96, 192, 192))
KNOWN_VOXELS = (2.0, 14.0)
"""Range of voxel sizes [mm] within which the form keeps the extent of a body."""
SIGMAS = (0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 3.0)
PHANTOMS = ("phantom:thorax:0", "phantom:abdomen:0", "phantom:head:0")
INPUT_LABELS = {"context": "global context", "neighbourhoods": "neighbourhood", "coordinates": "coordinates"}


def fill() -> None:
    """Set fields without a value to those of the displayed runs."""
    runs = [run for run in map(engine.known_prior_run, state.prior_runs()) if run is not None]
    config = runs[0].config if runs else None
    generate = config if isinstance(config, GenerateConfig) else GenerateConfig()
    denoise = config if isinstance(config, DenoiseConfig) else None
    scan = state.scan()
    source = denoise.source if denoise else scan.source if scan else PHANTOMS[0]
    state.fill(
        {
            "prior.kind": "denoise" if denoise else "generate",
            "prior.grid": generate.grid if generate.grid in GRIDS else GenerateConfig.grid,
            **{f"prior.voxel.{axis}": s for axis, s in zip("zyx", generate.voxel_size, strict=True)},
            "prior.steps": generate.num_steps,
            "prior.seed": generate.seed,
            "prior.source": source if source in sources() else PHANTOMS[0],
            "prior.sigma": denoise.sigma if denoise and denoise.sigma in SIGMAS else 0.3,
            "prior.noise_seed": denoise.seed if denoise else 0,
            "prior.without": [i for r in runs for i in getattr(r.config, "without", ())] if denoise else [],
        }
    )


def choose_kind() -> str:
    kind = st.segmented_control(
        "Task",
        list(KINDS),
        key=state.field("prior.kind"),
        format_func=lambda k: KINDS[k],
        required=True,
        help="*Generate* creates a volume from noise alone. *Denoise* adds noise to a volume of your choice "
        "and removes it.",
    )
    st.caption(
        {
            "generate": "The prior turns noise into a volume, step by step: first on a coarse grid, then on "
            "finer ones. The volume shows no real patient. This small model generates only rough bodies.",
            "denoise": "Noise is added to a volume, and the prior removes it in one pass. You can switch off "
            "information from outside each patch.",
        }[kind or "generate"]
    )
    return kind or "generate"


def generate_configs() -> list[GenerateConfig]:
    """Draw the controls and return the configuration of the volume to generate."""
    grid = st.selectbox(
        "Grid",
        GRIDS,
        key=state.field("prior.grid"),
        format_func=formatting.times,
        on_change=_fit_voxels,
        help="Number of voxels (z × y × x). More voxels take longer. The voxel size is adjusted so that a "
        "body fits.",
    )
    sizes = []
    st.markdown(":small[Voxel size in mm]")
    for column, axis in zip(st.columns(3), "zyx", strict=True):
        sizes.append(
            column.number_input(
                axis,
                0.5,
                20.0,
                step=0.1,
                format="%.1f",
                key=state.field(f"prior.voxel.{axis}"),
                help=f"Voxel size along {axis}. The prior was trained on voxels of 1.2 to 14 mm and bodies "
                "of 30 to 50 cm.",
            )
        )
    extent = formatting.times(f"{n * s / 10:.0f}" for n, s in zip(grid, sizes, strict=True))
    st.caption(f"The volume is {extent} cm (z × y × x).")
    steps = st.number_input(
        "Steps",
        2,
        500,
        step=10,
        key=state.field("prior.steps"),
        help="Passes of the prior over the volume, half of them on the coarsest grid. More steps are slower "
        "and cleaner.",
    )
    seed = st.number_input(
        "Seed",
        0,
        2**31 - 1,
        step=1,
        key=state.field("prior.seed"),
        help="Each number gives a different volume.",
    )
    return [GenerateConfig(grid, (sizes[0], sizes[1], sizes[2]), int(steps), int(seed))]


def _fit_voxels() -> None:
    """Keep the extent when the grid changes, as long as the voxel sizes stay within KNOWN_VOXELS."""
    default = GenerateConfig()
    for axis, n, extent in zip("zyx", state.value("prior.grid"), _extent(default), strict=True):
        size = min(max(extent / n, KNOWN_VOXELS[0]), KNOWN_VOXELS[1])
        state.fill({f"prior.voxel.{axis}": round(size, 1)}, overwrite=True)


def _extent(config: GenerateConfig) -> list[float]:
    """Return the extent [mm] along z, y, x."""
    return [n * s for n, s in zip(config.grid, config.voxel_size, strict=True)]


def denoise_configs() -> list[DenoiseConfig]:
    """Draw the controls and return a pass with all inputs, and one without each selected input."""
    known = sources()
    source = st.selectbox(
        "Volume",
        list(known),
        key=state.field("prior.source"),
        format_func=lambda s: known[s],
        help="The volume of the current scan, a phantom, or a CT volume uploaded on Acquire.",
    )
    sigma = st.select_slider(
        "Noise",
        SIGMAS,
        key=state.field("prior.sigma"),
        format_func=lambda s: f"{1000 * s:.0f} HU",
        help="Standard deviation of the added noise.",
    )
    seed = st.number_input(
        "Seed",
        0,
        2**31 - 1,
        step=1,
        key=state.field("prior.noise_seed"),
        help="Each number gives different noise.",
    )
    off = st.pills(
        "Also without",
        INPUTS,
        key=state.field("prior.without"),
        format_func=lambda i: INPUT_LABELS[i],
        selection_mode="multi",
        help="Switch off information from outside each patch: the downsampled volume, its neighbourhood, or "
        "its position. Each choice adds a pass.",
    )
    grid = volume_cache.small_grid(source)
    configs = [DenoiseConfig(source, grid, float(sigma), int(seed))]
    return configs + [
        DenoiseConfig(source, grid, float(sigma), int(seed), (name,)) for name in INPUTS if name in off
    ]


def sources() -> dict[str, str]:
    """Return the names of the volumes that can be denoised."""
    scan = state.scan()
    stored = {v.digest: v.name for v in engine.store().volumes()}
    names = [*([scan.source] if scan else []), *PHANTOMS, *(f"volume:{digest}" for digest in stored)]
    return {
        name: labels.source_label(name, stored)
        for name in dict.fromkeys(names)
        if not name.startswith("volume:") or name.removeprefix("volume:") in stored
    }
