// The scan in motion: source, detector, object and rays in 3D; the projection that is taken; the sinogram.

const instances = new WeakMap();
const remembered = new Map(); // view angles, speed and row by id: outlive new data

const bound = (v, low, high) => Math.min(high, Math.max(low, v));
const RAY = '255, 207, 92', PANEL = '94, 214, 255';

function read(bytes) {
  const start = bytes.byteOffset, length = new DataView(bytes.buffer, start, 4).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes.buffer, start + 4, length)));
  let offset = start + 4 + length;
  const take = (count) => { const part = new Uint8Array(bytes.buffer, offset, count); offset += count; return part; };
  head.slice = take(head.sliceShape[0] * head.sliceShape[1]);
  const [v, n, u] = head.shape;
  head.grey = take(v * n * u);
  return head;
}

function picture(width, height, value) {
  const canvas = document.createElement('canvas');
  canvas.width = width; canvas.height = height;
  const c = canvas.getContext('2d'), image = c.createImageData(width, height), words = new Uint32Array(image.data.buffer);
  for (let j = 0, q = 0; j < height; j++) for (let i = 0; i < width; i++, q++) words[q] = value(i, j);
  c.putImageData(image, 0, 0);
  return canvas;
}
const shade = (g, a = 255) => ((a << 24) | (g << 16) | (g << 8) | g) >>> 0;

class ScanView {
  constructor(root) {
    this.root = root;
    const q = (name) => root.querySelector(name);
    [this.space, this.shot, this.sino] = ['.space3d', '.shot', '.sino'].map(q);
    [this.button, this.slider, this.word] = ['.play', '.view', '.word'].map(q);
    this.button.onclick = () => { this.s.playing = !this.s.playing; this.tick(); };
    this.slider.oninput = () => { this.s.playing = false; this.s.view = Number(this.slider.value); this.tick(); };
    this.gestures();
    new ResizeObserver(() => this.tick()).observe(root);
  }

  show(scan) {
    if (!remembered.has(scan.id)) {
      remembered.set(scan.id, { yaw: -0.62, pitch: 0.52, view: 0, row: 0.5, column: 0.5, ray: false, playing: !matchMedia('(prefers-reduced-motion: reduce)').matches });
    }
    this.s = remembered.get(scan.id);
    this.scan = scan;
    const [v, n, u] = scan.shape, [h, w] = scan.sliceShape;
    this.s.view = bound(this.s.view, 0, n - 1);
    this.object = picture(w, h, (i, j) => { const g = scan.slice[j * w + i]; return shade(g, g < 8 ? 0 : 235); });
    this.shots = new Map();
    this.slider.max = n - 1;
    this.sinogram = null;
    this.far = Math.max(...scan.views.flatMap((p) => [Math.hypot(...p.source), ...this.corners(p).map((c) => Math.hypot(...c))]));
    this.tick();
  }

  corners(p) {
    const [v, u] = this.scan.panel;
    return [[-0.5, -0.5], [-0.5, 0.5], [0.5, 0.5], [0.5, -0.5]].map(([a, b]) => p.det.map((d, k) => d + a * v * p.up[k] + b * u * p.across[k]));
  }

  shotOf(k) {
    if (!this.shots.has(k)) {
      const [v, n, u] = this.scan.shape, g = this.scan.grey;
      this.shots.set(k, picture(u, v, (i, j) => shade(g[((v - 1 - j) * n + k) * u + i]))); // rows run to the head
    }
    return this.shots.get(k);
  }

  tick() {
    if (!this.frame) this.frame = requestAnimationFrame((now) => { this.frame = 0; this.step(now); });
  }

  step(now) {
    if (!this.root.isConnected || !this.scan) return;
    const n = this.scan.shape[1], began = performance.now();
    if (this.s.playing) {
      const pace = bound(6000 / n, 40, 400); // a turn in about six seconds
      if (!this.last || now - this.last > pace) { this.last = now; this.s.view = (this.s.view + 1) % n; }
    }
    const key = [this.s.view, this.s.yaw, this.s.pitch, this.s.row, this.s.column, this.s.ray, this.root.clientWidth].join();
    if (key !== this.drawn || !this.sinogram) {
      this.drawn = key;
      this.drawSpace(); this.drawShot(); this.drawSino();
      this.slider.value = this.s.view;
      this.word.textContent = `View ${this.scan.numbers[this.s.view]} of ${this.scan.total} · ${this.scan.degrees[this.s.view].toFixed(1)}°`;
      this.root.dataset.ms = (performance.now() - began).toFixed(2);
      this.root.dataset.view = this.s.view;
    }
    this.button.textContent = this.s.playing ? '❚❚' : '▶';
    if (this.s.playing) this.tick();
  }

  canvas(node) {
    const ratio = Math.min(2, devicePixelRatio || 1), w = Math.max(1, Math.round(node.clientWidth * ratio)), h = Math.max(1, Math.round(node.clientHeight * ratio));
    if (node.width !== w || node.height !== h) { node.width = w; node.height = h; }
    const c = node.getContext('2d');
    c.setTransform(1, 0, 0, 1, 0, 0);
    c.clearRect(0, 0, w, h);
    return { c, w, h, ratio };
  }

  // ---- 3D: an orthographic projection keeps pictures affine, so that slices and shots can be drawn in space

  drawSpace() {
    const { c, w, h, ratio } = this.canvas(this.space), { yaw, pitch, view } = this.s, scan = this.scan, p = scan.views[view];
    const cy = Math.cos(yaw), sy = Math.sin(yaw), cp = Math.cos(pitch), sp = Math.sin(pitch);
    const flat = this.far * 2.08, scale = Math.min(w / flat, h / (flat * Math.max(0.45, sp + 0.28)));
    const to = ([z, y, x]) => {
      const a = cy * x + sy * y, b = -sy * x + cy * y; // b points away from the eye
      return [w / 2 + a * scale, h / 2 - (cp * z + sp * b) * scale, sp * -z + cp * b];
    };
    const path = (points, close = true) => { c.beginPath(); points.forEach((q, i) => { const [X, Y] = to(q); if (i) c.lineTo(X, Y); else c.moveTo(X, Y); }); if (close) c.closePath(); };
    const texture = (image, corner, right, down) => { // corner of the picture in space, and its two edges
      const [x0, y0] = to(corner), [x1, y1] = to(corner.map((q, k) => q + right[k])), [x2, y2] = to(corner.map((q, k) => q + down[k]));
      c.setTransform((x1 - x0) / image.width, (y1 - y0) / image.width, (x2 - x0) / image.height, (y2 - y0) / image.height, x0, y0);
      c.drawImage(image, 0, 0);
      c.setTransform(1, 0, 0, 1, 0, 0);
    };
    const ring = (r, z) => Array.from({ length: 73 }, (_, i) => [z, r * Math.cos(i * Math.PI / 36), r * Math.sin(i * Math.PI / 36)]);
    c.lineWidth = ratio; c.lineJoin = 'round';

    const orbit = () => {
      c.strokeStyle = 'rgba(150, 170, 190, .35)';
      path(scan.views.map((q) => q.source), false); c.stroke();
      scan.views.forEach((q, i) => {
        const [X, Y] = to(q.source);
        c.fillStyle = i === view ? `rgba(${RAY}, 1)` : i < view ? `rgba(${RAY}, .6)` : 'rgba(150, 170, 190, .5)';
        c.beginPath(); c.arc(X, Y, (i === view ? 6 : 2.2) * ratio, 0, 7); c.fill();
      });
    };
    const panel = () => {
      const corners = this.corners(p), [v, u] = scan.panel;
      texture(this.shotOf(view), corners[3], p.across.map((q) => q * u), p.up.map((q) => -q * v));
      path(corners); c.strokeStyle = `rgba(${PANEL}, .95)`; c.lineWidth = 1.6 * ratio; c.stroke();
    };
    const object = () => {
      const [Z, Y, X] = scan.size.map((q) => q / 2), box = [[-Z, -Y, -X], [-Z, -Y, X], [-Z, Y, X], [-Z, Y, -X]];
      const lift = (list) => list.map(([z, y, x]) => [-z, y, x]);
      c.strokeStyle = 'rgba(200, 212, 224, .4)'; c.lineWidth = ratio;
      path(box); c.stroke();
      texture(this.object, [0, -Y, -X], [0, 0, 2 * X], [0, 2 * Y, 0]);
      path(lift(box)); c.stroke();
      box.forEach((q, i) => { path([q, lift(box)[i]], false); c.stroke(); });
      const [r, height] = scan.fov, half = Math.min(height / 2, Z);
      c.strokeStyle = scan.truncated ? 'rgba(255, 122, 89, .95)' : 'rgba(120, 220, 150, .6)';
      c.setLineDash([5 * ratio, 4 * ratio]);
      for (const z of [-half, half]) { path(ring(r, z)); c.stroke(); }
      c.setLineDash([]);
    };
    const rays = () => {
      const corners = this.corners(p), from = scan.parallel ? corners.map((q) => q.map((d, k) => d - 2 * scan.distance * p.ray[k])) : corners.map(() => p.source);
      c.fillStyle = `rgba(${RAY}, .07)`; c.strokeStyle = `rgba(${RAY}, .5)`; c.lineWidth = ratio;
      corners.forEach((q, i) => { const j = (i + 1) % 4; path([from[i], q, corners[j], from[j]]); c.fill(); path([from[i], q], false); c.stroke(); });
      if (this.s.ray) {
        const [v, u] = scan.panel, end = p.det.map((d, k) => d + (this.s.row - 0.5) * v * p.up[k] + (this.s.column - 0.5) * u * p.across[k]);
        path([scan.parallel ? end.map((d, k) => d - 2 * scan.distance * p.ray[k]) : p.source, end], false);
        c.strokeStyle = '#ff5d73'; c.lineWidth = 2.4 * ratio; c.stroke();
      }
    };
    const parts = [[to(p.det)[2], panel], [to(p.source)[2], orbit], [0, object]];
    parts.sort((a, b) => b[0] - a[0]).forEach(([, draw]) => draw());
    rays();
    this.write(c, ratio, scan.title, 10, 10, w, h);
  }

  write(c, ratio, text, x, y) {
    c.font = `600 ${12 * ratio}px system-ui, sans-serif`; c.fillStyle = 'rgba(255,255,255,.85)';
    c.textAlign = 'left'; c.textBaseline = 'top';
    c.fillText(text, x * ratio, y * ratio);
  }

  // ---- pictures

  drawShot() {
    const { c, w, h, ratio } = this.canvas(this.shot), image = this.shotOf(this.s.view), [v, u] = this.scan.panel;
    const scale = Math.min(w / u, h / v), W = u * scale, H = v * scale, x = (w - W) / 2, y = (h - H) / 2;
    this.shotBox = { x, y, W, H, ratio };
    c.imageSmoothingEnabled = true;
    c.drawImage(image, x, y, W, H);
    const row = y + (1 - this.s.row) * H;
    c.strokeStyle = `rgba(${PANEL}, .9)`; c.lineWidth = ratio;
    c.beginPath(); c.moveTo(x, row); c.lineTo(x + W, row); c.stroke();
    if (this.s.ray) { c.fillStyle = '#ff5d73'; c.beginPath(); c.arc(x + this.s.column * W, row, 4 * ratio, 0, 7); c.fill(); }
    this.write(c, ratio, 'Projection', 8, 7);
  }

  drawSino() {
    const { c, w, h, ratio } = this.canvas(this.sino), [v, n, u] = this.scan.shape, row = bound(Math.floor(this.s.row * v), 0, v - 1);
    if (!this.sinogram || this.sinogramRow !== row) {
      this.sinogramRow = row;
      this.sinogram = picture(u, n, (i, j) => shade(this.scan.grey[(row * n + j) * u + i]));
    }
    c.imageSmoothingEnabled = false;
    c.drawImage(this.sinogram, 0, 0, w, h);
    const y = (this.s.view + 0.5) / n * h;
    c.strokeStyle = `rgba(${RAY}, .95)`; c.lineWidth = 1.4 * ratio;
    c.beginPath(); c.moveTo(0, y); c.lineTo(w, y); c.stroke();
    if (this.s.ray) { c.fillStyle = '#ff5d73'; c.beginPath(); c.arc(this.s.column * w, y, 4 * ratio, 0, 7); c.fill(); }
    c.shadowColor = '#000'; c.shadowBlur = 4 * ratio;
    this.write(c, ratio, 'Sinogram', 8, 7);
    c.shadowBlur = 0;
  }

  gestures() {
    let from = null;
    this.space.onpointerdown = (e) => { this.space.setPointerCapture(e.pointerId); from = { x: e.clientX, y: e.clientY, yaw: this.s.yaw, pitch: this.s.pitch }; };
    this.space.onpointermove = (e) => {
      if (!from) return;
      this.s.yaw = from.yaw - (e.clientX - from.x) / 180;
      this.s.pitch = bound(from.pitch + (e.clientY - from.y) / 180, 0.08, Math.PI / 2);
      this.tick();
    };
    this.space.onpointerup = this.space.onpointercancel = () => { from = null; };
    const drag = (node, act) => {
      let down = false;
      const go = (e) => { const b = node.getBoundingClientRect(); act((e.clientX - b.left) / b.width, (e.clientY - b.top) / b.height, b); this.tick(); };
      node.onpointerdown = (e) => { down = true; node.setPointerCapture(e.pointerId); go(e); };
      node.onpointermove = (e) => { if (down) go(e); };
      node.onpointerup = node.onpointercancel = () => { down = false; };
    };
    drag(this.shot, (fx, fy, b) => {
      const k = this.shotBox;
      this.s.row = bound(1 - (fy * b.height * k.ratio - k.y) / k.H, 0, 0.9999);
      this.s.column = bound((fx * b.width * k.ratio - k.x) / k.W, 0, 0.9999);
      this.s.ray = true;
    });
    drag(this.sino, (fx, fy) => {
      const n = this.scan.shape[1];
      this.s.playing = false; this.s.ray = true;
      this.s.column = bound(fx, 0, 0.9999);
      this.s.view = bound(Math.floor(fy * n), 0, n - 1);
    });
  }
}

export default function (component) {
  const { data, parentElement } = component, root = parentElement.querySelector('.sv');
  if (!root || !data) return;
  if (!instances.has(root)) instances.set(root, new ScanView(root));
  instances.get(root).show(read(data));
}
