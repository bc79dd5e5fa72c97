// Pane with a volume rendering: its camera, preset and quality. All panes of a viewer share camera and preset.

const AT_REST = 180; // ms after the last movement, until the picture becomes fine
const SMOOTH = 1000 / 30; // ms between pictures that a turning object should have
const FINE = 0.6, TURNING = 1.4; // length of a step in voxels, at rest and while the object turns
const COARSE = 0.25; // smallest share of the pixels across
const STILL = { steps: 1, ms: 700, pixels: [140, 520] }; // without a graphics card: the time for a picture, and its pixels across
const KEYS = { ArrowLeft: [10, 0, 1], ArrowRight: [-10, 0, 1], ArrowUp: [0, -10, 1], ArrowDown: [0, 10, 1], '+': [0, 0, 1.15], '=': [0, 0, 1.15], '-': [0, 0, 1 / 1.15] };
const STILL_NOTE = 'This browser has no graphics card: a still picture follows each change.';

let sharedRenderer = null;
/** Return the renderer of this page: WebGL2 if there is any. */
function renderer() {
  if (!sharedRenderer || sharedRenderer.isLost) sharedRenderer = WebglRenderer.create() || new RayCaster();
  return sharedRenderer;
}

const preparedVolumes = []; // the last one was used last
/** Return a volume with its blocks and, on demand, the air around the body. A volume sent again is recognised. */
function prepare(volume, shape) {
  const same = (p) => String(p.shape) === String(shape) && equal(p.volume, volume);
  let k = preparedVolumes.findIndex((p) => p.volume === volume);
  if (k < 0) k = preparedVolumes.findIndex(same);
  const found = k >= 0 ? preparedVolumes.splice(k, 1)[0] : {
    volume, shape, blocks: blockRanges(volume, shape),
    get outside() { const air = outsideAir(this.volume, this.shape); Object.defineProperty(this, 'outside', { value: air }); return air; },
  };
  found.volume = volume;
  preparedVolumes.push(found);
  if (preparedVolumes.length > MOST_TEXTURES) preparedVolumes.shift();
  return found;
}

function equal(a, b) {
  for (let i = 0; i < a.length; i++) if (a[i] !== b[i]) return false;
  return a.length === b.length;
}

/** Return the index of the reference, or of another volume that exists. */
function firstOf({ reference, volumes, pending }) {
  return volumes[reference] && !pending[reference] ? reference : Math.max(0, pending.indexOf(false));
}

/** Return camera and preset before any change: bones, or the greys of a window of its own. */
function initialSpace(scene) {
  const known = Object.values(scene.windows).some(([l, w]) => l === scene.window[0] && w === scene.window[1]);
  const others = renderable(scene).filter((i) => i !== scene.reference);
  return { ...CAMERA, preset: known ? 'bone' : 'window', shown: [scene.reference, others[0] ?? -1] };
}

class SpacePane {
  constructor(canvas) {
    this.canvas = canvas;
    this.picture = document.createElement('canvas'); // the volume alone
    this.share = 0.6; // of the pixels across while the object turns
    this.pixels = 220; // across in a still picture
    this.drawn = '';
  }

  resize(width, height, ratio, letters = 1) { Pane.prototype.resize.call(this, width, height, ratio, letters); }

  describe(scene, view, spec) { return `${spec.title}, ${PRESETS[view.space.preset].label.toLowerCase()}, volume rendering ${cameraText(view.space)}`; }

  draw(scene, view, spec) {
    const { canvas } = this, c = canvas.getContext('2d'), { width, height } = canvas, colour = getComputedStyle(canvas).color || '#888';
    c.clearRect(0, 0, width, height);
    if (scene.pending[spec.volume]) { writeMessage(c, scene.notes[spec.volume], this.ratio, colour); return; }
    this.render(scene, view, spec);
    c.imageSmoothingQuality = 'high';
    c.drawImage(this.picture, 0, 0, width, height);
    drawOrientation(c, axesOf(view.space), this.ratio, height, colour);
  }

  /** Draw the volume, unless its picture is up to date; without a graphics card, only at rest. */
  render(scene, view, spec) {
    const tool = renderer(), moving = Boolean(view.moving), still = tool.isSoftware;
    if (moving && still && this.drawn) return;
    const prepared = prepare(scene.volumes[spec.volume], scene.shape), stops = stopsOf(view.space.preset, view);
    scene.box ||= objectBox(prepare(scene.volumes[firstOf(scene)], scene.shape).blocks); // the same for all panes
    const { width, height } = this.canvas, share = still ? Math.min(1, this.pixels / width) : moving ? this.share : 1;
    const steps = still ? STILL.steps : moving ? TURNING : FINE, [w, h] = [width, height].map((n) => Math.max(1, Math.round(n * share)));
    const key = JSON.stringify([view.space, stops, width, height, steps, scene.box, scene.spacing]);
    if (this.drawn === key && this.prepared === prepared && this.tool === tool) return;
    const settings = { preset: view.space.preset, stops, view: viewOf(scene, view.space, w, h), steps };
    const began = performance.now(), picture = tool.render(prepared, settings, w, h);
    Object.assign(this.picture, { width: w, height: h });
    this.picture.getContext('2d').drawImage(picture, 0, 0);
    const ms = performance.now() - began; // without a graphics card, the copy waits for the picture
    if (still) this.pixels = clamp(this.pixels * clamp(Math.sqrt(STILL.ms / ms), 0.5, 1.5), ...STILL.pixels);
    Object.assign(this, { drawn: key, prepared, tool });
  }

  /** Adapt the number of pixels to the time between two pictures of a movement [ms]. */
  pace(ms) {
    this.share = clamp(this.share * (ms > 1.25 * SMOOTH ? 0.85 : ms < 0.8 * SMOOTH ? 1.08 : 1), COARSE, 1);
  }
}

/** Draw the axes of the patient in the lower left corner: left, back and head. */
function drawOrientation(c, { across, up, back }, ratio, height, colour) {
  const length = 20 * ratio, centre = [30 * ratio, height - 30 * ratio], project = (v) => [dot(v, across), -dot(v, up)];
  const ends = [[1, 0, 0, 'L'], [0, 1, 0, 'P'], [0, 0, 1, 'H'], [-1, 0, 0, 'R'], [0, -1, 0, 'A'], [0, 0, -1, 'F']];
  c.font = `${11 * ratio}px system-ui, sans-serif`; c.textAlign = 'center'; c.textBaseline = 'middle';
  c.strokeStyle = c.fillStyle = colour; c.lineWidth = 1.2 * ratio;
  for (const [x, y, z, letter] of ends) {
    const [u, v] = project([x, y, z]);
    if (dot([x, y, z], back) < -0.02) continue; // towards the eye only
    c.globalAlpha = 0.85;
    c.beginPath(); c.moveTo(...centre); c.lineTo(centre[0] + 0.68 * length * u, centre[1] + 0.68 * length * v); c.stroke();
    c.fillText(letter, centre[0] + length * u, centre[1] + length * v);
  }
  c.globalAlpha = 1;
}

/** Turn by mouse, one finger or arrow keys; zoom by wheel, two fingers, + and -. */
function spaceGestures(viewer, pane) {
  const canvas = pane.canvas, fingers = new Map();
  let spread = 0;
  const move = (yaw, pitch, factor) => { Object.assign(viewer.view.space, turned(viewer.view.space, yaw, pitch, factor)); viewer.inMotion(); };
  canvas.addEventListener('wheel', (e) => {
    e.preventDefault();
    move(0, 0, Math.exp(-clamp(e.deltaMode === 1 ? 33 * e.deltaY : e.deltaY, -200, 200) / 700));
  }, { passive: false });
  canvas.addEventListener('dblclick', () => { Object.assign(viewer.view.space, CAMERA); viewer.inMotion(); });
  canvas.addEventListener('pointerdown', (e) => {
    canvas.setPointerCapture(e.pointerId);
    canvas.focus({ preventScroll: true });
    fingers.set(e.pointerId, e);
    spread = fingers.size === 2 ? gap(fingers) : 0;
  });
  canvas.addEventListener('pointermove', (e) => {
    const before = fingers.get(e.pointerId);
    if (!before) return;
    fingers.set(e.pointerId, e);
    if (fingers.size === 1) {
      const degrees = 180 / Math.max(200, Math.min(canvas.clientWidth, canvas.clientHeight)); // half a turn across the picture
      move(-(e.clientX - before.clientX) * degrees, (e.clientY - before.clientY) * degrees, 1);
    } else if (fingers.size === 2) {
      const now = gap(fingers);
      move(0, 0, now / spread);
      spread = now;
    }
  });
  const end = (e) => fingers.delete(e.pointerId);
  canvas.addEventListener('pointerup', end);
  canvas.addEventListener('pointercancel', end);
  canvas.addEventListener('keydown', (e) => {
    const preset = Object.keys(PRESETS)[Number(e.key) - 1];
    if (KEYS[e.key] && !e.ctrlKey && !e.metaKey) move(...KEYS[e.key]);
    else if (preset) { viewer.view.space.preset = preset; viewer.arrange(); }
    else return;
    e.preventDefault();
    e.stopPropagation();
  });
}
