// Volumes as the volume rendering needs them: 16-bit floats, ranges of blocks, and the air around the body.

const BLOCK = 8; // voxels of a block along each axis
const AIR = -500; // HU below which a voxel may be air around the body
const CELLS = 128; // largest number of cells along an axis in the search for the outside
const SKIN = 2; // cells by which the outside reaches into the body: its border has the HU of lungs

const halfTable = new Map();
/** Return the table from int16 HU (+32768) to the bits of a 16-bit float of HU / 1000. */
function halves() {
  if (!halfTable.has('hu')) halfTable.set('hu', Uint16Array.from({ length: 65536 }, (_, i) => halfBits((i - 32768) / 1000)));
  return halfTable.get('hu');
}

/** Return the bits of the 16-bit float closest to a number (IEEE 754). */
function halfBits(number) {
  const sign = number < 0 ? 0x8000 : 0, a = Math.abs(number);
  if (!(a < 65520)) return sign | 0x7c00;
  const exponent = Math.max(-14, Math.floor(Math.log2(a))), unit = 2 ** (exponent - 10);
  const steps = Math.round(a / unit); // 1024 to 2048, less for the smallest numbers
  return sign | (steps < 1024 ? steps : ((exponent + 14) << 10) + steps); // a rounding up to 2048 carries into the exponent
}

/** Return the voxels, every `stride`th along each axis, as 16-bit floats of HU / 1000, and the shape (z, y, x). */
function packHalves(volume, [nz, ny, nx], stride = 1) {
  const shape = [nz, ny, nx].map((n) => Math.ceil(n / stride)), table = halves(), out = new Uint16Array(shape[0] * shape[1] * shape[2]);
  let q = 0;
  for (let z = 0; z < nz; z += stride) {
    for (let y = 0; y < ny; y += stride) {
      const row = (z * ny + y) * nx;
      for (let x = 0; x < nx; x += stride) out[q++] = table[volume[row + x] + 32768];
    }
  }
  return { shape, halves: out };
}

/** Return the least and largest HU of each block, with the voxels next to it, which interpolation uses. */
function blockRanges(volume, [nz, ny, nx]) {
  const shape = [nz, ny, nx].map((n) => Math.ceil(n / BLOCK)), [, by, bx] = shape, count = shape[0] * by * bx;
  const low = new Int16Array(count).fill(32767), high = new Int16Array(count).fill(-32768);
  const near = (i, n) => { // blocks whose range includes voxel i
    const b = i / BLOCK | 0, rest = i % BLOCK;
    return [rest === 0 && b > 0 ? b - 1 : b, rest === BLOCK - 1 && b < n - 1 ? b + 1 : b];
  };
  for (let z = 0; z < nz; z++) {
    const [z0, z1] = near(z, shape[0]);
    for (let y = 0; y < ny; y++) {
      const [y0, y1] = near(y, by), row = (z * ny + y) * nx;
      for (let b = 0; b < bx; b++) {
        let least = 32767, most = -32768;
        for (let x = Math.max(0, b * BLOCK - 1), end = Math.min(nx, (b + 1) * BLOCK + 1); x < end; x++) {
          const v = volume[row + x];
          if (v < least) least = v;
          if (v > most) most = v;
        }
        for (let i = z0; i <= z1; i++) {
          for (let j = y0; j <= y1; j++) {
            const k = (i * by + j) * bx + b;
            if (least < low[k]) low[k] = least;
            if (most > high[k]) high[k] = most;
          }
        }
      }
    }
  }
  return { shape, low, high };
}

/** Return 255 for each block that is visible with these stops, else 0. */
function visibleBlocks({ low, high }, stops) {
  const out = new Uint8Array(low.length);
  const peaks = stops.filter((s) => s[1] > 0).map((s) => s[0]); // between two stops, opacity is largest at one of them
  for (let k = 0; k < low.length; k++) {
    const inside = peaks.some((hu) => hu >= low[k] && hu <= high[k]);
    if (inside || transferAt(stops, low[k])[0] > 0 || transferAt(stops, high[k])[0] > 0) out[k] = 255;
  }
  return out;
}

/**
 * Return cells that are 255 in the air around the body and at its border, else 0.
 *
 * Air is outside if it is connected to the sides of the volume. Its first and last slice do not count: they cut lungs.
 */
function outsideAir(volume, [nz, ny, nx]) {
  const size = Math.max(1, Math.ceil(Math.max(nz, ny, nx) / CELLS)), shape = [nz, ny, nx].map((n) => Math.ceil(n / size)), [cz, cy, cx] = shape;
  const air = new Uint8Array(cz * cy * cx).fill(1);
  for (let z = 0, s = 0; z < nz; z++) {
    for (let y = 0; y < ny; y++) {
      const row = ((z / size | 0) * cy + (y / size | 0)) * cx;
      for (let x = 0; x < nx; x++, s++) if (volume[s] > AIR) air[row + (x / size | 0)] = 0;
    }
  }
  const outside = new Uint8Array(air.length), queue = new Int32Array(air.length);
  let end = 0;
  const reach = (k) => { if (air[k] && !outside[k]) { outside[k] = 255; queue[end++] = k; } };
  for (let z = 0; z < cz; z++) {
    for (let y = 0; y < cy; y++) { reach((z * cy + y) * cx); reach((z * cy + y) * cx + cx - 1); }
    for (let x = 0; x < cx; x++) { reach(z * cy * cx + x); reach((z * cy + cy - 1) * cx + x); }
  }
  const around = (k, act) => {
    const x = k % cx, y = (k / cx | 0) % cy;
    if (x > 0) act(k - 1);
    if (x < cx - 1) act(k + 1);
    if (y > 0) act(k - cx);
    if (y < cy - 1) act(k + cx);
    if (k >= cy * cx) act(k - cy * cx);
    if (k < (cz - 1) * cy * cx) act(k + cy * cx);
  };
  for (let q = 0; q < end; q++) around(queue[q], reach);
  for (let round = 0, from = 0; round < SKIN; round++) { // the cells beyond those found last
    const last = end;
    for (let q = from; q < last; q++) around(queue[q], (k) => { if (!outside[k]) { outside[k] = 255; queue[end++] = k; } });
    from = last;
  }
  return { shape, size, outside };
}

/** Return the box of the object within the volume, as fractions (z, y, x): lower and upper corner. */
function objectBox({ shape, high }) {
  const low = [1, 1, 1], up = [0, 0, 0], [bz, by, bx] = shape;
  for (let z = 0, k = 0; z < bz; z++) {
    for (let y = 0; y < by; y++) {
      for (let x = 0; x < bx; x++, k++) {
        if (high[k] <= AIR) continue;
        [[z, bz], [y, by], [x, bx]].forEach(([i, n], a) => { low[a] = Math.min(low[a], i / n); up[a] = Math.max(up[a], (i + 1) / n); });
      }
    }
  }
  return up[0] > low[0] ? { low, up } : { low: [0, 0, 0], up: [1, 1, 1] };
}
