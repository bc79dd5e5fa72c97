// Ray geometry of one view: points are (z, y, x) in mm; rows and columns are fractions of the detector panel.

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const minus = (a, b) => a.map((q, k) => q - b[k]);
const along = (a, b, t) => a.map((q, k) => q + t * b[k]);
const cross = (a, b) => [a[1] * b[2] - a[2] * b[1], a[2] * b[0] - a[0] * b[2], a[0] * b[1] - a[1] * b[0]];

/** Return the point of the panel at these fractions; (0.5, 0.5) is its centre. */
function onPanel(scan, view, row, column) {
  const [v, u] = scan.panel;
  return along(along(view.det, view.up, (row - 0.5) * v), view.across, (column - 0.5) * u);
}

/** Return both ends of the ray to this point of the panel. */
function rayTo(scan, view, row, column) {
  const end = onPanel(scan, view, row, column);
  return [scan.parallel ? along(end, view.ray, -2 * scan.distance) : view.source, end];
}

/** Return row and column of the projection of a point, which may lie outside the panel. */
function projectPoint(scan, view, point) {
  const normal = cross(view.up, view.across), from = scan.parallel ? point : view.source;
  const ray = scan.parallel ? view.ray : minus(point, view.source);
  const hit = minus(along(from, ray, dot(minus(view.det, from), normal) / dot(ray, normal)), view.det);
  return { row: dot(hit, view.up) / scan.panel[0] + 0.5, column: dot(hit, view.across) / scan.panel[1] + 0.5 };
}

/** Return the height z at which a ray is closest to the rotation axis. */
function heightAtAxis([from, end]) {
  const d = minus(end, from), flat = d[1] * d[1] + d[2] * d[2];
  const t = flat > 0 ? -(from[1] * d[1] + from[2] * d[2]) / flat : 0.5;
  return from[0] + t * d[0];
}

/** Return the part of a ray between two heights, or null. */
function between([from, end], low, high) {
  const d = minus(end, from);
  if (Math.abs(d[0]) < 1e-9) return from[0] >= low && from[0] <= high ? [from, end] : null;
  const [a, b] = [(low - from[0]) / d[0], (high - from[0]) / d[0]].sort((p, q) => p - q);
  const t0 = Math.max(0, a), t1 = Math.min(1, b);
  return t0 < t1 ? [along(from, d, t0), along(from, d, t1)] : null;
}
