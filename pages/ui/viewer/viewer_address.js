// The view in the address of the page: viewer, crosshair (z, y, x), level, width, zoom, centre (z, y, x), layout. The
// layout "render" has its preset, camera (yaw and pitch in degrees, zoom in percent) and volumes appended, after points.

const FIELDS = 10; // after the name of the viewer
const rounded = (f) => Math.round(f * 1e4) / 1e4;

const linkedView = () => new URLSearchParams(location.search).get('view') || '';

function viewText(viewer, v, layout) {
  return [viewer.scene.id, ...[...v.cursor, v.level, v.width, v.zoom, ...v.centre].map(rounded), layout === 'render' ? spaceText(v.space) : layout].join('_');
}

function spaceText({ preset, yaw, pitch, zoom, shown }) {
  return ['render', preset, ...[yaw, pitch, 100 * zoom].map(Math.round), ...shown].join('.');
}

/** Take over preset, camera and volumes where they are valid. */
function readSpace(space, [preset, ...values]) {
  const numbers = values.map(Number), [yaw, pitch, zoom, ...shown] = numbers;
  if (!Object.hasOwn(PRESETS, preset) || numbers.length !== 5 || !numbers.every(Number.isInteger)) return;
  Object.assign(space, turned({ yaw: 0, pitch: 0, zoom: 1 }, yaw, pitch, zoom / 100), { preset, shown });
}

/** Return the current view as one word. */
function writeView(viewer) { return viewText(viewer, viewer.view, viewer.layout); }

/** Return the view before any change by the user. */
function defaultView({ scene }) {
  const [level, width] = scene.window, middle = [0.5, 0.5, 0.5];
  return viewText({ scene }, { cursor: scene.cursor || middle, level, width, zoom: 1, centre: middle, space: initialSpace(scene) }, scene.layout);
}

/** Take over a view if it belongs to this viewer and is valid; return whether it was. */
function readView(viewer, text) {
  const parts = text.split('_'), [layout, ...space] = parts[parts.length - 1].split('.'), { scene, view } = viewer;
  const numbers = parts.slice(-FIELDS, -1).map(Number);
  if (parts.slice(0, -FIELDS).join('_') !== scene.id || numbers.length !== FIELDS - 1 || !numbers.every(Number.isFinite)) return false;
  const [z, y, x, level, width, zoom, ...centre] = numbers, share = (f) => clamp(f, 0, 0.9999);
  Object.assign(view, {
    cursor: [z, y, x].map(share), centre: centre.map(share), level: clamp(level, -1500, 4000), width: clamp(width, 1, 6000),
    zoom: clamp(zoom, 1, 12),
  });
  if (layout === 'render') readSpace(view.space, space);
  if (scene.layouts.includes(layout)) view.layouts[scene.key] = layout;
  if (viewer.current) viewer.arrange();
  return true;
}
