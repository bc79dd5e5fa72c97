// 2D pictures of a scan: slice of the object, projection of a view, sinogram of a detector row.

function makeImage(width, height, value) {
  const canvas = document.createElement('canvas');
  canvas.width = width; canvas.height = height;
  const c = canvas.getContext('2d'), image = c.createImageData(width, height), words = new Uint32Array(image.data.buffer);
  for (let j = 0, q = 0; j < height; j++) for (let i = 0; i < width; i++, q++) words[q] = value(i, j);
  c.putImageData(image, 0, 0);
  return canvas;
}
const shade = (g, a = 255) => ((a << 24) | (g << 16) | (g << 8) | g) >>> 0;

/** Return the largest centred box with these proportions on a canvas. */
function fittedBox(w, h, width, height) {
  const scale = Math.min(w / width, h / height), W = width * scale, H = height * scale;
  return { x: (w - W) / 2, y: (h - H) / 2, W, H };
}

function dotAt(c, x, y, ratio) { c.fillStyle = MARK; c.beginPath(); c.arc(x, y, 4 * ratio, 0, 7); c.fill(); }

function drawSlice(sv, { c, w, h, ratio }) {
  const { scan, s } = sv, [, Y, X] = scan.size, box = fittedBox(w, h, X, Y);
  sv.sliceBox = { ...box, ratio };
  const to = ([, y, x]) => [box.x + (x - scan.low[2]) / X * box.W, box.y + (y - scan.low[1]) / Y * box.H];
  c.imageSmoothingEnabled = true;
  c.drawImage(sv.sliceImage(s.z), box.x, box.y, box.W, box.H);
  const ray = sv.ray(), stroke = (part, alpha) => {
    c.globalAlpha = alpha; c.strokeStyle = MARK; c.lineWidth = 2 * ratio;
    c.beginPath(); c.moveTo(...to(part[0])); c.lineTo(...to(part[1])); c.stroke();
    c.globalAlpha = 1;
  };
  if (ray) {
    c.save(); c.beginPath(); c.rect(box.x, box.y, box.W, box.H); c.clip();
    stroke(ray, 0.35); // above or below this slice
    const thick = scan.size[0] / scan.volumeShape[0] / 2 * (1 + 1e-6), within = between(ray, s.z - thick, s.z + thick);
    if (within) stroke(within, 1);
    c.restore();
  }
  if (s.voxel) {
    const [x, y] = to(s.voxel);
    c.strokeStyle = MARK; c.lineWidth = 2 * ratio;
    c.beginPath(); c.arc(x, y, 6 * ratio, 0, 7); c.stroke();
  }
  c.shadowColor = '#000'; c.shadowBlur = 4 * ratio;
  const decimals = Math.min(20, Math.max(0, Math.ceil(-Math.log10(scan.size[0] / scan.volumeShape[0])))); // as fine as a slice
  sv.write(c, ratio, `Object, z ${(+s.z.toFixed(decimals)).toFixed(decimals).replace('-', '−')} mm`, 8, 7);
  c.shadowBlur = 0;
}

function drawProjection(sv, { c, w, h, ratio }) {
  const [v, u] = sv.scan.panel, { x, y, W, H } = fittedBox(w, h, u, v), point = sv.detectorPoint();
  sv.projectionBox = { x, y, W, H, ratio };
  c.imageSmoothingEnabled = true;
  c.drawImage(sv.projectionImage(sv.s.view), x, y, W, H);
  const row = y + (1 - sv.s.row) * H;
  c.strokeStyle = `rgba(${PANEL}, .9)`; c.lineWidth = ratio;
  c.beginPath(); c.moveTo(x, row); c.lineTo(x + W, row); c.stroke();
  if (point) dotAt(c, x + point.column * W, y + (1 - point.row) * H, ratio);
  c.shadowColor = '#000'; c.shadowBlur = 4 * ratio;
  sv.write(c, ratio, 'Projection', 8, 7);
  c.shadowBlur = 0;
}

function drawSinogram(sv, { c, w, h, ratio }) {
  const { scan, s } = sv, [v, n, u] = scan.shape, row = clamp(Math.floor(s.row * v), 0, v - 1), point = sv.detectorPoint();
  if (!sv.sinogram || sv.sinogramRow !== row) {
    sv.sinogramRow = row;
    sv.sinogram = makeImage(u, n, (i, j) => shade(scan.grey[(row * n + j) * u + i]));
  }
  c.imageSmoothingEnabled = false;
  c.drawImage(sv.sinogram, 0, 0, w, h);
  const y = (s.view + 0.5) / n * h;
  c.strokeStyle = `rgba(${RAY}, .95)`; c.lineWidth = 1.4 * ratio;
  c.beginPath(); c.moveTo(0, y); c.lineTo(w, y); c.stroke();
  if (s.voxel) drawTrace(sv, c, w, h, ratio, row);
  if (point) dotAt(c, point.column * w, y, ratio);
  c.shadowColor = '#000'; c.shadowBlur = 4 * ratio;
  sv.write(c, ratio, 'Sinogram', 8, 7);
  c.shadowBlur = 0;
}

/** Draw the voxel's trace through all views: solid where it projects to the displayed row, dotted elsewhere. */
function drawTrace(sv, c, w, h, ratio, row) {
  const { scan, s } = sv, [v, n] = scan.shape;
  const trace = scan.views.map((p) => projectPoint(scan, p, s.voxel));
  c.strokeStyle = MARK; c.lineWidth = 2 * ratio;
  const here = (q) => Math.abs(q.row * v - row - 0.5) <= 0.75;
  for (const solid of [true, false]) {
    c.setLineDash(solid ? [] : [2 * ratio, 5 * ratio]);
    c.beginPath();
    for (let k = 0; k + 1 < n; k++) {
      if ((here(trace[k]) && here(trace[k + 1])) !== solid) continue;
      c.moveTo(trace[k].column * w, (k + 0.5) / n * h);
      c.lineTo(trace[k + 1].column * w, (k + 1.5) / n * h);
    }
    c.stroke();
  }
  c.setLineDash([]);
}
