// The part of the volume that the pictures show: the object with a margin, or the full field.

const MARGIN = 0.01; // around the object, relative to its extent; a round body fills three quarters of its box
const LEAST_FIELD = 0.15; // of the volume along an axis; a smaller object may be noise
const FULL_FIELD = { low: [0, 0, 0], up: [1, 1, 1] };
const fields = new WeakMap(); // box by volume

/** Return the box of the voxels above air with a margin, as fractions (z, y, x): lower and upper corner. */
function objectField(volume, shape, air) {
  if (!fields.has(volume)) {
    const [nz, ny, nx] = shape, first = [...shape], last = [-1, -1, -1];
    for (let z = 0; z < nz; z++) {
      for (let y = 0; y < ny; y++) {
        const row = (z * ny + y) * nx;
        let from = 0, to = nx - 1;
        while (from < nx && volume[row + from] <= air) from++;
        if (from === nx) continue;
        while (volume[row + to] <= air) to--;
        [[z, z], [y, y], [from, to]].forEach(([a, b], k) => { first[k] = Math.min(first[k], a); last[k] = Math.max(last[k], b); });
      }
    }
    const margin = shape.map((_, k) => MARGIN * (last[k] + 1 - first[k]));
    const low = shape.map((n, k) => Math.max(0, (first[k] - margin[k]) / n)), up = shape.map((n, k) => Math.min(1, (last[k] + 1 + margin[k]) / n));
    fields.set(volume, low.every((l, k) => up[k] - l >= LEAST_FIELD) ? { low, up } : FULL_FIELD);
  }
  return fields.get(volume);
}

/** Return the shown box: the same for all pictures, that of the reference once it exists. */
function shownField(scene, view) {
  const k = scene.reference;
  if (!scene.fit || view.fullField || !scene.volumes[k] || scene.pending[k]) return FULL_FIELD;
  return objectField(scene.volumes[k], scene.shape, scene.air);
}
