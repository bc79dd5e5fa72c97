// 3D picture of the scan. The orthographic projection is affine, so that slices and projections can be drawn as textures.

const RAY = '255, 207, 92', PANEL = '94, 214, 255', MARK = '#ff5d73';

function corners(scan, p) {
  return [[0, 0], [0, 1], [1, 1], [1, 0]].map(([row, column]) => onPanel(scan, p, row, column));
}

/** Draw source, detector, object and rays of the current view on a canvas of w x h pixels. */
function drawSpace(sv, { c, w, h, ratio }) {
  const { yaw, pitch, view } = sv.s, scan = sv.scan, p = scan.views[view];
  const cy = Math.cos(yaw), sy = Math.sin(yaw), cp = Math.cos(pitch), sp = Math.sin(pitch);
  const flat = sv.extent * 2.08, scale = Math.min(w / flat, h / (flat * Math.max(0.45, sp + 0.28)));
  const to = ([z, y, x]) => {
    const a = cy * x + sy * y, b = -sy * x + cy * y; // b points away from the eye
    return [w / 2 + a * scale, h / 2 - (cp * z + sp * b) * scale, sp * -z + cp * b];
  };
  const path = (points, close = true) => { c.beginPath(); points.forEach((q, i) => { const [X, Y] = to(q); if (i) c.lineTo(X, Y); else c.moveTo(X, Y); }); if (close) c.closePath(); };
  const texture = (image, corner, right, down) => { // corner of the picture and its two edges in space
    const [x0, y0] = to(corner), [x1, y1] = to(along(corner, right, 1)), [x2, y2] = to(along(corner, down, 1));
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
    const edge = corners(scan, p), [v, u] = scan.panel;
    texture(sv.projectionImage(view), edge[3], p.across.map((q) => q * u), p.up.map((q) => -q * v));
    path(edge); c.strokeStyle = `rgba(${PANEL}, .95)`; c.lineWidth = 1.6 * ratio; c.stroke();
  };
  const object = () => {
    const [Z, Y, X] = scan.size, [z, y, x] = scan.low;
    const box = (height) => [[height, y, x], [height, y, x + X], [height, y + Y, x + X], [height, y + Y, x]];
    c.strokeStyle = 'rgba(200, 212, 224, .4)'; c.lineWidth = ratio;
    path(box(z)); c.stroke();
    texture(sv.sliceImage(sv.s.z), [sv.s.z, y, x], [0, 0, X], [0, Y, 0]);
    path(box(z + Z)); c.stroke();
    box(z).forEach((q, i) => { path([q, box(z + Z)[i]], false); c.stroke(); });
    const [r, height] = scan.fov, half = Math.min(height / 2, Z / 2);
    c.strokeStyle = scan.truncated ? 'rgba(255, 122, 89, .95)' : 'rgba(120, 220, 150, .6)';
    c.setLineDash([5 * ratio, 4 * ratio]);
    for (const at of [-half, half]) { path(ring(r, at)); c.stroke(); }
    c.setLineDash([]);
  };
  const rays = () => {
    const edge = corners(scan, p), from = scan.parallel ? edge.map((q) => along(q, p.ray, -2 * scan.distance)) : edge.map(() => p.source);
    c.fillStyle = `rgba(${RAY}, .07)`; c.strokeStyle = `rgba(${RAY}, .5)`; c.lineWidth = ratio;
    edge.forEach((q, i) => { const j = (i + 1) % 4; path([from[i], q, edge[j], from[j]]); c.fill(); path([from[i], q], false); c.stroke(); });
    const ray = sv.ray();
    if (ray) { path(ray, false); c.strokeStyle = MARK; c.lineWidth = 2.4 * ratio; c.stroke(); }
    if (sv.s.voxel) { const [X, Y] = to(sv.s.voxel); c.fillStyle = MARK; c.beginPath(); c.arc(X, Y, 4.5 * ratio, 0, 7); c.fill(); }
  };
  [[to(p.det)[2], panel], [to(p.source)[2], orbit], [0, object]].sort((a, b) => b[0] - a[0]).forEach(([, draw]) => draw());
  rays();
}
