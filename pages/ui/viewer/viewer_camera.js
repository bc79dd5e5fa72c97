// Camera of the volume rendering. Lengths are in units of half the object's extent; axes are x to the left of the
// patient, y to the back, z to the head.

const CAMERA = { yaw: 20, pitch: 12, zoom: 1 }; // degrees; seen from the front, turned a little
const DISTANCE = 5; // of the eye from the centre: a slight perspective

/** Return the camera turned and zoomed, within its limits. */
function turned(camera, yaw, pitch, factor = 1) {
  return {
    yaw: ((camera.yaw + yaw) % 360 + 540) % 360 - 180, // -180 to 180
    pitch: clamp(camera.pitch + pitch, -90, 90),
    zoom: clamp(camera.zoom * factor, 0.5, 8),
  };
}

/** Return the unit vectors (x, y, z) to the right and upwards in the picture, and towards the eye. */
function axesOf({ yaw, pitch }) {
  const [a, b] = [yaw, pitch].map((d) => d * Math.PI / 180), [s, c] = [Math.sin(a), Math.cos(a)];
  return {
    across: [c, s, 0],
    up: [-s * Math.sin(b), c * Math.sin(b), Math.cos(b)],
    back: [s * Math.cos(b), -c * Math.cos(b), Math.sin(b)],
  };
}

/** Return the ratio of height to width that shows a standing object from all sides. */
function tallOf({ shape, spacing }) {
  const [z, y, x] = shape.map((n, a) => n * spacing[a]);
  return clamp(Math.hypot(z, 0.45 * Math.max(x, y)) / Math.max(x, y), 0.7, 1.6);
}

/**
 * Return volume and camera in units: size and lower corner of the volume, eye, and the vectors (x, y, z) from the
 * centre of the picture to its right and upper edge.
 */
function viewOf({ shape, spacing, box }, camera, width, height) {
  const mm = shape.map((n, a) => n * spacing[a]), half = mm.map((m, a) => m * (box.up[a] - box.low[a]) / 2);
  const unit = Math.max(...half), round = Math.max(half[1], half[2]) / unit, [xyz, size] = [[2, 1, 0], [2, 1, 0].map((a) => mm[a] / unit)];
  const tall = Math.hypot(half[0] / unit, 0.45 * round); // with room for a raised camera
  const up = 1.14 * Math.max(tall, round * height / width) / camera.zoom, axes = axesOf(camera), times = (v, f) => v.map((q) => q * f);
  return {
    size, low: xyz.map((a, k) => -size[k] * (box.low[a] + box.up[a]) / 2), step: Math.min(...spacing) / unit,
    eye: times(axes.back, DISTANCE), across: times(axes.across, up * width / height), up: times(axes.up, up), axes,
  };
}

/** Return the camera in words. */
function cameraText({ yaw, pitch, zoom }) {
  const side = Math.abs(yaw) <= 45 ? 'front' : Math.abs(yaw) >= 135 ? 'back' : yaw > 0 ? 'left' : 'right';
  const degrees = (v) => `${Math.round(v)}°`.replace('-', '−');
  return `from the ${side} · turned ${degrees(yaw)} · raised ${degrees(pitch)} · zoom ${zoom.toFixed(1)}`;
}
