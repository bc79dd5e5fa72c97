// Scan view: its state and animation. The other files draw its pictures.

const instances = new WeakMap();
const viewStates = new Map(); // view angles, view and row by id: survive new data

const clamp = (v, low, high) => Math.min(high, Math.max(low, v));

function unpackScan(bytes) {
  const start = bytes.byteOffset, length = new DataView(bytes.buffer, start, 4).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes.buffer, start + 4, length)));
  let offset = start + 4 + length;
  const take = (shape) => { const part = new Uint8Array(bytes.buffer, offset, shape[0] * shape[1] * shape[2]); offset += part.length; return part; };
  head.volume = take(head.volumeShape);
  head.grey = take(head.shape);
  return head;
}

class ScanView {
  constructor(root) {
    this.root = root;
    const q = (name) => root.querySelector(name);
    [this.space, this.slice, this.projectionCanvas, this.sinogramCanvas, this.frequencyCanvas] = ['.space3d', '.slice', '.projection', '.sinogram', '.frequencies'].map(q);
    [this.button, this.slider, this.viewLabel] = ['.play', '.view', '.view-label'].map(q);
    this.button.onclick = () => { this.s.playing = !this.s.playing; this.scheduleDraw(); };
    this.slider.oninput = () => { this.s.playing = false; this.s.view = Number(this.slider.value); this.scheduleDraw(); };
    this.places = [...root.querySelectorAll('.place')];
    for (const button of this.places) button.onclick = () => this.place([button.value, ...this.s.voxel]);
    addControls(this);
    new ResizeObserver(() => this.scheduleDraw()).observe(root);
    new IntersectionObserver(([seen]) => { this.seen = seen.isIntersecting; this.scheduleDraw(); }).observe(root);
  }

  /** Show a scan; `place([name, z, y, x])` moves an object to the selected voxel. */
  show(scan, place) {
    this.place = place;
    if (!viewStates.has(scan.id)) {
      viewStates.set(scan.id, { yaw: -0.62, pitch: 0.52, view: 0, row: 0.5, column: 0.5, z: 0, ray: false, voxel: null, playing: !matchMedia('(prefers-reduced-motion: reduce)').matches });
    }
    this.s = viewStates.get(scan.id);
    this.scan = scan;
    this.s.view = clamp(this.s.view, 0, scan.shape[1] - 1);
    this.s.z = this.height(this.s.z);
    const planted = String(scan.lesion || '');
    if (planted !== (this.s.planted || '')) {
      this.s.planted = planted;
      if (planted) this.s.voxel = scan.lesion;
    }
    if (this.s.voxel) this.selectVoxel(this.s.voxel);
    this.projections = new Map();
    this.slices = new Map();
    this.slider.max = scan.shape[1] - 1;
    this.sinogram = null;
    this.extent = Math.max(...scan.views.flatMap((p) => [Math.hypot(...p.source), ...corners(scan, p).map((c) => Math.hypot(...c))]));
    this.scheduleDraw();
  }

  /** Return the centre height of the slice at z. */
  height(z) {
    const thick = this.scan.size[0] / this.scan.volumeShape[0], low = this.scan.low[0];
    return low + (clamp(Math.floor((z - low) / thick), 0, this.scan.volumeShape[0] - 1) + 0.5) * thick;
  }

  // ---- selection: a detector point with its ray, or a voxel with its trace in the sinogram

  /** Select a point of the detector. */
  selectRay(row, column) {
    Object.assign(this.s, { row: clamp(row, 0, 0.9999), column: clamp(column, 0, 0.9999), ray: true, voxel: null });
    this.s.z = this.height(heightAtAxis(this.ray()));
    this.scheduleDraw();
  }

  /** Select a voxel; the sinogram shows the detector row to which it projects in this view. */
  selectVoxel([z, y, x]) {
    const { low, size } = this.scan, inside = (v, k) => clamp(v, low[k], low[k] + size[k] * 0.9999);
    this.s.voxel = [this.height(z), inside(y, 1), inside(x, 2)];
    this.s.z = this.s.voxel[0];
    this.s.ray = false;
    this.s.row = clamp(this.detectorPoint().row, 0, 0.9999);
    this.scheduleDraw();
  }

  /** Return the selection's position on the detector in this view: row and column, or null. */
  detectorPoint() {
    if (this.s.voxel) return projectPoint(this.scan, this.scan.views[this.s.view], this.s.voxel);
    return this.s.ray ? { row: this.s.row, column: this.s.column } : null;
  }

  /** Return the selected ray in this view, or null. */
  ray() {
    const point = this.detectorPoint();
    return point && rayTo(this.scan, this.scan.views[this.s.view], point.row, point.column);
  }

  // ---- pictures

  projectionImage(k) {
    if (!this.projections.has(k)) {
      const [v, n, u] = this.scan.shape, g = this.scan.grey;
      this.projections.set(k, makeImage(u, v, (i, j) => shade(g[((v - 1 - j) * n + k) * u + i]))); // rows run to the head
    }
    return this.projections.get(k);
  }

  sliceImage(z) {
    const [Z, Y, X] = this.scan.volumeShape, k = clamp(Math.floor((z - this.scan.low[0]) / this.scan.size[0] * Z), 0, Z - 1);
    if (!this.slices.has(k)) {
      this.slices.set(k, makeImage(X, Y, (i, j) => { const g = this.scan.volume[(k * Y + j) * X + i]; return shade(g, g < 8 ? 0 : 235); }));
    }
    return this.slices.get(k);
  }

  scheduleDraw() {
    if (!this.frame) this.frame = requestAnimationFrame((now) => { this.frame = 0; this.animate(now); });
  }

  animate(now) {
    if (!this.root.isConnected || !this.scan) return;
    const { s, scan } = this, n = scan.shape[1], began = performance.now();
    if (s.playing && this.seen) {
      const pace = clamp(6000 / n, 40, 400); // a turn in about six seconds
      if (!this.last || now - this.last > pace - 8) { this.last = now; s.view = (s.view + 1) % n; }
      clearTimeout(this.next);
      this.next = setTimeout(() => this.scheduleDraw(), pace - (now - this.last)); // not at every frame in between
    }
    const key = [s.playing, s.view, s.yaw, s.pitch, s.row, s.column, s.z, s.ray, s.voxel, this.root.clientWidth].join();
    if (key !== this.drawn || !this.sinogram) {
      this.drawn = key;
      for (const [node, draw] of [[this.space, drawSpace], [this.slice, drawSlice], [this.projectionCanvas, drawProjection], [this.sinogramCanvas, drawSinogram], [this.frequencyCanvas, drawFrequencies]]) draw(this, this.canvas(node));
      this.write(this.space.getContext('2d'), this.ratio, scan.title, 10, 10);
      this.slider.value = s.view;
      this.button.textContent = s.playing ? '❚❚' : '▶';
      for (const button of this.places) {
        button.hidden = !scan.movable.includes(button.value);
        button.disabled = !s.voxel;
        button.title = s.voxel ? `Move the ${button.value} to the selected point` : 'Click the object first';
      }
      this.viewLabel.textContent = `View ${scan.numbers[s.view]} of ${scan.total} · ${scan.degrees[s.view].toFixed(1)}°`;
      const point = this.detectorPoint();
      Object.assign(this.root.dataset, {
        ms: (performance.now() - began).toFixed(2), view: s.view, z: s.z, voxel: s.voxel ? s.voxel.join() : '',
        spot: point ? `${point.row},${point.column}` : '', ray: point ? this.ray().flat().join() : '',
      });
    }
  }

  canvas(node) {
    const ratio = this.ratio = Math.min(2, devicePixelRatio || 1), w = Math.max(1, Math.round(node.clientWidth * ratio)), h = Math.max(1, Math.round(node.clientHeight * ratio));
    if (node.width !== w || node.height !== h) { node.width = w; node.height = h; }
    const c = node.getContext('2d');
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.clearRect(0, 0, w, h);
    return { c, w, h, ratio };
  }

  write(c, ratio, text, x, y) {
    c.font = `600 ${12 * ratio}px system-ui, sans-serif`; c.fillStyle = 'rgba(255,255,255,.85)';
    c.textAlign = 'left'; c.textBaseline = 'top';
    c.fillText(text, x * ratio, y * ratio);
  }
}

export default function (component) {
  const { data, parentElement, setTriggerValue } = component, root = parentElement.querySelector('.sv');
  if (!root || !data) return;
  if (!instances.has(root)) instances.set(root, new ScanView(root));
  instances.get(root).show(unpackScan(data), (placed) => setTriggerValue('placed', placed));
}
