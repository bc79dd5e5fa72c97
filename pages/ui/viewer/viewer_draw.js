// Drawing of the slice viewer: colours, planes, panes; independent of Streamlit and of events.

// ---- colours ---------------------------------------------------------------------------------

const GREY = [[0, 0, 0, 0], [1, 255, 255, 255]];
// Dark in the middle, so that zero difference is black; blue and red are distinct for colour-blind users (after
// Crameri's "berlin").
const SIGNED = [
  [0, 158, 198, 255], [0.22, 62, 140, 214], [0.42, 18, 48, 84], [0.5, 10, 10, 12],
  [0.58, 84, 30, 14], [0.78, 214, 92, 62], [1, 255, 196, 178],
];
// Deviations: black at zero, then violet to yellow with increasing brightness (after matplotlib's "inferno").
const HEAT = [
  [0, 0, 0, 4], [0.2, 51, 10, 95], [0.4, 136, 34, 106], [0.6, 212, 72, 66], [0.8, 251, 155, 6], [1, 252, 255, 164],
];

// Deviations as an overlay: the same colours, transparent where the deviation is small.
const OVERLAY = HEAT.map((stop) => [...stop]);
OVERLAY.opacity = (t) => Math.round(235 * Math.sqrt(t));

function colourAt(map, t) {
  let k = 1;
  while (k < map.length - 1 && map[k][0] < t) k++;
  const a = map[k - 1], b = map[k], s = Math.min(1, Math.max(0, (t - a[0]) / (b[0] - a[0])));
  return [1, 2, 3].map((c) => Math.round(a[c] + s * (b[c] - a[c])));
}

const packed = new Map();
/** Return 256 colours of a map as little-endian RGBA values. */
function palette(map) {
  if (!packed.has(map)) {
    packed.set(map, Uint32Array.from({ length: 256 }, (_, i) => {
      const [r, g, b] = colourAt(map, i / 255);
      const alpha = map.opacity ? map.opacity(i / 255) : 255;
      return ((alpha << 24) | (b << 16) | (g << 8) | r) >>> 0;
    }));
  }
  return packed.get(map);
}

/** Return a colour, red, green and blue from 0 to 1, as a little-endian RGBA value. */
function packedColour(rgb) { return rgb.reduce((word, c, k) => word | Math.round(255 * c) << 8 * k, 0xff000000) >>> 0; }

/** Table from a 16-bit value (+32768) to a colour, linear between low and high. */
class Lookup {
  constructor(map) { this.map = map; this.table = new Uint32Array(65536); this.low = NaN; this.high = NaN; }
  set(low, high) {
    if (low === this.low && high === this.high) return this.table;
    const colours = palette(this.map), t = this.table, scale = 255 / Math.max(1e-6, high - low);
    for (let i = 0; i < 65536; i++) {
      const c = (i - 32768 - low) * scale;
      t[i] = colours[c <= 0 ? 0 : c >= 255 ? 255 : c | 0];
    }
    this.low = low; this.high = high;
    return t;
  }
}

// ---- planes ----------------------------------------------------------------------------------

// u and v are the picture's axes, as indices into (z, y, x). In two planes v points to the head and is flipped.
const PLANES = {
  axial: { u: 2, v: 1, across: 0, flip: false, letters: ['A', 'P', 'R', 'L'] }, // top, bottom, left, right
  coronal: { u: 2, v: 0, across: 1, flip: true, letters: ['H', 'F', 'R', 'L'] },
  sagittal: { u: 1, v: 0, across: 2, flip: true, letters: ['H', 'F', 'A', 'P'] },
};

const indexAt = (f, n) => Math.min(n - 1, Math.max(0, Math.floor(f * n)));

/** Write the colours of one slice; with `other`, of the difference of two volumes. */
function paintSlice(out, plane, shape, k, table, volume, other, from, to) {
  const [nz, ny, nx] = shape, half = 32768;
  const w = shape[PLANES[plane].u], h = shape[PLANES[plane].v];
  const step = plane === 'sagittal' ? nx : 1;
  for (let j = 0; j < h; j++) {
    const row = plane === 'axial' ? (k * ny + j) * nx
      : plane === 'coronal' ? ((nz - 1 - j) * ny + k) * nx : (nz - 1 - j) * ny * nx + k;
    let q = j * w + from, s = row + from * step;
    if (other) {
      for (let i = from; i < to; i++, q++, s += step) {
        const d = volume[s] - other[s];
        out[q] = table[(d < -half ? -half : d > 32767 ? 32767 : d) + half];
      }
    } else {
      for (let i = from; i < to; i++, q++, s += step) out[q] = table[volume[s] + half];
    }
  }
}

// ---- tiles -----------------------------------------------------------------------------------

/** Return the intervals [from, to) within 0..n of a tile that starts at s on a periodic grid of `around` voxels. */
function pieces(s, size, around, n) {
  const first = s % around, over = first + size - around;
  const parts = over > 0 ? [[first, around], [0, over]] : [[first, first + size]];
  return parts.map(([a, b]) => [a, Math.min(b, n)]).filter(([a, b]) => a < b);
}

/** Draw outlines of the tiles of this pass where they cross the slice. */
function drawTiles(c, scene, view, plane, r, R) {
  const { size, starts } = scene.tiles, grid = scene.grid, k = indexAt(view.cursor[plane.across], grid[plane.across]);
  const ring = grid.map((n, axis) => Math.ceil(n / size[axis]) * size[axis]), nu = grid[plane.u], nv = grid[plane.v];
  c.strokeStyle = 'rgba(255, 190, 84, .6)';
  c.lineWidth = Math.max(1, R * 0.75);
  c.beginPath();
  for (const s of starts) {
    const inside = (k - s[plane.across] + 2 * ring[plane.across]) % ring[plane.across];
    if (inside >= size[plane.across]) continue;
    for (const [u0, u1] of pieces(s[plane.u], size[plane.u], ring[plane.u], nu)) {
      for (const [v0, v1] of pieces(s[plane.v], size[plane.v], ring[plane.v], nv)) {
        const top = plane.flip ? nv - v1 : v0;
        c.rect(r.x + u0 / nu * r.w, r.y + top / nv * r.h, (u1 - u0) / nu * r.w, (v1 - v0) / nv * r.h);
      }
    }
  }
  c.stroke();
}

// ---- messages --------------------------------------------------------------------------------

/** Write a message in place of a missing picture, on two lines where it is long. */
function writeMessage(c, text, ratio, colour) {
  const { width, height } = c.canvas;
  c.fillStyle = colour;
  c.font = `${12.5 * ratio}px system-ui, sans-serif`;
  c.textAlign = 'center'; c.textBaseline = 'middle';
  const words = text.split(' '), line = 19 * ratio;
  let first = words.length;
  if (c.measureText(text).width > 0.9 * width) while (first > 1 && words.slice(0, first).join(' ').length > 0.55 * text.length) first--;
  const lines = [words.slice(0, first), words.slice(first)].map((part) => part.join(' ')).filter(Boolean);
  lines.forEach((part, i) => c.fillText(part, width / 2, height / 2 + (i - (lines.length - 1) / 2) * line, 0.94 * width));
}

// ---- one picture -----------------------------------------------------------------------------

/** Canvas with one plane of a volume, of a difference, or of two volumes on both sides of a divider. */
class Pane {
  constructor(canvas) {
    this.canvas = canvas;
    this.slice = document.createElement('canvas');
    this.rect = { x: 0, y: 0, w: 1, h: 1 };
  }

  /** Set the size in CSS pixels; `letters` enlarges labels and marks. */
  resize(width, height, ratio, letters = 1) {
    const w = Math.max(1, Math.round(width * ratio)), h = Math.max(1, Math.round(height * ratio));
    if (this.canvas.width !== w || this.canvas.height !== h) { this.canvas.width = w; this.canvas.height = h; }
    this.ratio = ratio * letters;
    this.screenRatio = ratio;
  }

  describe(scene, view, spec) {
    const mip = view.mip && spec.kind !== 'difference';
    return `${spec.title}, ${spec.plane} ${mip ? 'maximum intensity projection' : 'slice'}`;
  }

  /** Return fractions (u, v) of the picture at a screen position, with v along the volume's axis. */
  locate(clientX, clientY) {
    const box = this.canvas.getBoundingClientRect();
    const px = (clientX - box.left) / box.width * this.canvas.width;
    const py = (clientY - box.top) / box.height * this.canvas.height;
    const u = (px - this.rect.x) / this.rect.w, v = (py - this.rect.y) / this.rect.h;
    return { u, v: PLANES[this.plane].flip ? 1 - v : v, inside: u >= 0 && u < 1 && v >= 0 && v < 1 };
  }

  draw(scene, view, spec) {
    const { shape, spacing, volumes } = scene, plane = PLANES[spec.plane];
    this.plane = spec.plane;
    const pending = [spec.volume, spec.other].find((i) => scene.pending[i]);
    if (pending !== undefined) {
      const two = spec.other !== undefined; // the caption names a single volume
      return this.drawMessage(two ? `${scene.names[pending]}: ${scene.notes[pending]}` : scene.notes[pending]);
    }
    const w = shape[plane.u], h = shape[plane.v], k = indexAt(view.cursor[plane.across], shape[plane.across]);
    if (this.slice.width !== w || this.slice.height !== h || !this.image) {
      this.slice.width = w; this.slice.height = h;
      this.context = this.slice.getContext('2d');
      this.image = this.context.createImageData(w, h);
      this.words = new Uint32Array(this.image.data.buffer);
    }
    const shade = (i) => (scene.kinds[i] === 'heat' ? scene.heatTable : scene.greyTable);
    const mip = view.mip && spec.kind !== 'difference'; // the maximum of a difference is not the difference of maxima
    const paint = (table, a, b, from, to) => (mip ? paintProjection(this.words, projectionsOf(a, shape)[spec.plane], w, table, from, to)
      : paintSlice(this.words, spec.plane, shape, k, table, a, b, from, to));
    if (spec.kind === 'difference') paint(scene.signedTable, volumes[spec.volume], volumes[spec.other], 0, w);
    else if (spec.kind === 'swipe') {
      const cut = Math.round(view.divider * w);
      paint(shade(spec.volume), volumes[spec.volume], null, 0, cut);
      paint(shade(spec.other), volumes[spec.other], null, cut, w);
    } else paint(shade(spec.volume), volumes[spec.volume], null, 0, w);
    this.context.putImageData(this.image, 0, 0);

    const c = this.canvas.getContext('2d', { alpha: false }), W = this.canvas.width, H = this.canvas.height;
    const mmW = w * spacing[plane.u], mmH = h * spacing[plane.v];
    const { low, up } = shownField(scene, view), extent = (a) => up[a] - low[a], centre = (a) => view.centre[a] - 0.5 + (low[a] + up[a]) / 2;
    const scale = Math.min(W / (mmW * extent(plane.u)), H / (mmH * extent(plane.v))) * view.zoom;
    const cu = centre(plane.u), cv = plane.flip ? 1 - centre(plane.v) : centre(plane.v);
    const r = this.rect = { w: mmW * scale, h: mmH * scale };
    r.x = W / 2 - cu * r.w; r.y = H / 2 - cv * r.h;
    c.fillStyle = '#000';
    c.fillRect(0, 0, W, H);
    c.imageSmoothingEnabled = view.smooth;
    c.imageSmoothingQuality = 'medium';
    c.drawImage(this.slice, r.x, r.y, r.w, r.h);
    if (spec.overlay >= 0) {
      paint(scene.overlayTable, volumes[spec.overlay], null, 0, w);
      this.context.putImageData(this.image, 0, 0);
      c.drawImage(this.slice, r.x, r.y, r.w, r.h);
    }
    this.decorate(c, scene, view, spec, plane, scale);
  }

  drawMessage(text) {
    const c = this.canvas.getContext('2d', { alpha: false });
    c.fillStyle = '#000';
    c.fillRect(0, 0, this.canvas.width, this.canvas.height);
    writeMessage(c, text, this.ratio, 'rgba(255,255,255,.8)');
  }

  decorate(c, scene, view, spec, plane, scale) {
    const R = this.ratio, W = this.canvas.width, H = this.canvas.height, r = this.rect, m = 7 * R;
    const toCanvas = (f) => [r.x + f[plane.u] * r.w, r.y + (plane.flip ? 1 - f[plane.v] : f[plane.v]) * r.h];
    if (scene.tiles && view.tiles && scene.tiled[spec.volume]) drawTiles(c, scene, view, plane, r, R);
    if (scene.region) {
      const [x, y] = toCanvas(view.cursor), half = scene.region.size / 2 * scale; // centred on the crosshair in all planes
      c.strokeStyle = 'rgba(255, 214, 102, .95)';
      c.lineWidth = 1.4 * R;
      c.beginPath();
      if (scene.region.kind === 'box') c.rect(x - half, y - half, 2 * half, 2 * half);
      else c.arc(x, y, half, 0, 7);
      c.stroke();
    }
    if (view.crosshair) {
      const [x, y] = toCanvas(view.cursor).map((q) => Math.round(q) + 0.5), gap = 9 * R;
      c.strokeStyle = 'rgba(94, 214, 255, .62)';
      c.lineWidth = Math.max(1, R * 0.75);
      c.beginPath();
      c.moveTo(0, y); c.lineTo(x - gap, y); c.moveTo(x + gap, y); c.lineTo(W, y);
      c.moveTo(x, 0); c.lineTo(x, y - gap); c.moveTo(x, y + gap); c.lineTo(x, H);
      c.stroke();
    }
    if (view.hover && !view.isHovered(this)) {
      const [x, y] = toCanvas(view.hover);
      c.strokeStyle = 'rgba(255, 214, 102, .95)';
      c.lineWidth = 1.2 * R;
      c.beginPath(); c.arc(x, y, 3.5 * R, 0, 7); c.stroke();
    }
    if (spec.kind === 'swipe') {
      const x = r.x + view.divider * r.w;
      c.fillStyle = 'rgba(255, 214, 102, .95)';
      c.fillRect(x - R, 0, 2 * R, H);
      c.beginPath(); c.arc(x, H / 2, 9 * R, 0, 7); c.fill();
      c.fillStyle = '#000'; c.font = `${12 * R}px sans-serif`; c.textAlign = 'center'; c.textBaseline = 'middle';
      c.fillText('⇔', x, H / 2);
    }
    const textWidth = (text) => { c.font = `${11.5 * R}px system-ui, sans-serif`; return c.measureText(text).width; };
    const write = (text, x, y, align, base, colour = 'rgba(255,255,255,.85)') => {
      const w = textWidth(text), h = 14 * R, left = x - w * { left: 0, center: 0.5, right: 1 }[align];
      c.fillStyle = 'rgba(0,0,0,.68)'; // a dark ground keeps the text readable
      c.fillRect(left - 2 * R, y - h * { top: 0.1, middle: 0.5, bottom: 0.95 }[base], w + 4 * R, h);
      c.fillStyle = colour; c.textAlign = align; c.textBaseline = base;
      c.fillText(text, x, y);
    };
    const [top, bottom, left, right] = plane.letters;
    write(top, W / 2, m, 'center', 'top');
    write(left, m, H / 2, 'left', 'middle'); write(right, W - m, H / 2, 'right', 'middle');
    // value at the pointer, or at the crosshair
    const f = view.hover || view.cursor, [nz, ny, nx] = scene.shape;
    const q = (indexAt(f[0], nz) * ny + indexAt(f[1], ny)) * nx + indexAt(f[2], nx), signed = (v) => `${v > 0 ? '+' : ''}${v}`;
    const read = (i) => (view.mip && spec.kind !== 'difference' ? projectionAt(scene.volumes[i], scene.shape, spec.plane, f) : scene.volumes[i][q]);
    const a = read(spec.volume);
    const value = spec.kind === 'difference' ? `${signed(a - read(spec.other))} HU`
      : spec.kind === 'swipe' ? `${a} | ${read(spec.other)} HU`
      : spec.overlay >= 0 ? `${a} ± ${read(spec.overlay)} HU` : `${a} HU`;
    const readout = value.replaceAll('-', '−');
    write(readout, m, H - m, 'left', 'bottom', view.hover ? '#ffd666' : '#8be0ff');
    // scale bar: the round length closest to a fifth of the width
    const mm = roundLength(W / 5 / scale);
    const x1 = W - m, x0 = x1 - mm * scale, y = H - m - 2 * R;
    c.strokeStyle = 'rgba(255,255,255,.85)'; c.lineWidth = 1.5 * R;
    c.beginPath(); c.moveTo(x0, y - 4 * R); c.lineTo(x0, y); c.lineTo(x1, y); c.lineTo(x1, y - 4 * R); c.stroke();
    write(lengthLabel(mm), x1, y - 6 * R, 'right', 'bottom');
    if (m + textWidth(readout) < W / 2 - 12 * R && x0 > W / 2 + 12 * R) write(bottom, W / 2, H - m, 'center', 'bottom');
  }
}
