// Maximum intensity projections: the largest value along each line of sight.

const projections = new WeakMap(); // by volume; entries disappear with their volume

/** Return the projections of a volume by plane: rows from the top, the head up. */
function projectionsOf(volume, [nz, ny, nx]) {
  if (projections.has(volume)) return projections.get(volume);
  const empty = (n) => new Int16Array(n).fill(-32768);
  const axial = empty(ny * nx), coronal = empty(nz * nx), sagittal = empty(nz * ny);
  for (let z = 0, s = 0; z < nz; z++) {
    const row = nz - 1 - z, c = row * nx;
    for (let y = 0; y < ny; y++) {
      const a = y * nx;
      let most = -32768;
      for (let x = 0; x < nx; x++, s++) {
        const v = volume[s];
        if (v > axial[a + x]) axial[a + x] = v;
        if (v > coronal[c + x]) coronal[c + x] = v;
        if (v > most) most = v;
      }
      sagittal[row * ny + y] = most;
    }
  }
  projections.set(volume, { axial, coronal, sagittal });
  return projections.get(volume);
}

/** Write the colours of a projection. */
function paintProjection(out, pixels, width, table, from, to) {
  for (let q = 0; q < pixels.length; q += width) {
    for (let i = from; i < to; i++) out[q + i] = table[pixels[q + i] + 32768];
  }
}

/** Return the projection's value at fractions (z, y, x). */
function projectionAt(volume, shape, name, f) {
  const plane = PLANES[name], [w, h] = [shape[plane.u], shape[plane.v]], j = indexAt(f[plane.v], h);
  return projectionsOf(volume, shape)[name][(plane.flip ? h - 1 - j : j) * w + indexAt(f[plane.u], w)];
}
