// The slice viewer: state, tool bar and gestures. Everything moves in the browser; the server sends volumes once.

const kept = new Map(); // view state by viewer id: outlives new data, reruns and page changes
const alive = new WeakMap(); // the viewer on each mounted element

const LAYOUTS = { planes: 'Planes', side: 'Side by side', difference: 'Difference', swipe: 'Swipe' };
const RANGES = [50, 100, 200, 400, 1000];

function unpack(bytes) {
  const start = bytes.byteOffset, length = new DataView(bytes.buffer, start, 4).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes.buffer, start + 4, length)));
  const count = head.shape[0] * head.shape[1] * head.shape[2];
  const first = start + 4 + length, copy = first % 2 ? bytes.buffer.slice(first) : bytes.buffer;
  const offset = first % 2 ? 0 : first;
  head.all = Array.from({ length: head.count }, (_, i) => new Int16Array(copy, offset + 2 * count * i, count));
  head.volumes = head.all.slice(0, head.names.length);
  return head;
}

function make(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (name.startsWith('on')) node.addEventListener(name.slice(2), value);
    else if (name === 'text') node.textContent = value;
    else node.setAttribute(name, value);
  }
  node.append(...children);
  return node;
}

// Drawn, not written: fonts differ in which symbols they have.
const ICONS = {
  play: 'M5 3l9 6-9 6z', pause: 'M5 3h3v12H5zM11 3h3v12h-3z', cross: 'M8.2 2h1.6v5h-1.6zM8.2 11h1.6v5h-1.6zM2 8.2h5v1.6H2zM11 8.2h5v1.6h-5z',
  tiles: 'M2 2h14v14H2zM3.5 3.5v4.8h4.8V3.5zM9.7 3.5v4.8h4.8V3.5zM3.5 9.7v4.8h4.8V9.7zM9.7 9.7v4.8h4.8V9.7z',
  reset: 'M9 3V.6L5 4l4 3.4V5a4.6 4.6 0 1 1-4.6 4.6H2.6A6.4 6.4 0 1 0 9 3z',
  full: 'M2 2h5v1.8H3.8V7H2zM11 2h5v5h-1.8V3.8H11zM2 11h1.8v3.2H7V16H2zM14.2 11H16v5h-5v-1.8h3.2z',
};

function icon(node, name) {
  const space = 'http://www.w3.org/2000/svg', svg = document.createElementNS(space, 'svg'), path = document.createElementNS(space, 'path');
  svg.setAttribute('viewBox', '0 0 18 18');
  path.setAttribute('fill-rule', 'evenodd');
  path.setAttribute('d', ICONS[name]);
  svg.append(path);
  node.replaceChildren(svg);
}

class Viewer {
  constructor(root) {
    this.root = root;
    this.bar = make('div', { class: 'bar', role: 'toolbar', 'aria-label': 'Viewer' });
    this.grid = make('div', { class: 'panes' });
    this.foot = make('div', { class: 'foot' });
    this.replay = make('div', { class: 'replay' });
    root.replaceChildren(this.bar, this.replay, this.grid, this.foot);
    this.panes = [];
    this.grey = new Lookup(GREY);
    this.signed = new Lookup(SIGNED);
    this.heat = new Lookup(HEAT);
    this.frames = 0;
    new ResizeObserver(() => this.redraw()).observe(root);
    this.tones();
  }

  // The accent may be light or dark: the words on it take the colour that can be read.
  tones() {
    const probe = make('i', { style: 'color: var(--st-primary-color)' });
    this.root.append(probe);
    const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
    probe.remove();
    this.root.style.setProperty('--on-primary', 0.299 * r + 0.587 * g + 0.114 * b > 150 ? '#10161d' : '#fff');
  }

  show(scene, send) {
    this.scene = scene;
    this.send = send;
    if (!kept.has(scene.id)) {
      kept.set(scene.id, {
        cursor: scene.cursor || [0.5, 0.5, 0.5], centre: [0.5, 0.5, 0.5], zoom: 1, cut: 0.5, smooth: true, crosshair: true,
        level: scene.window[0], width: scene.window[1], plane: scene.plane, layouts: {}, range: scene.range,
        volume: 0, other: 1, hover: null, tiles: true,
      });
    }
    this.view = kept.get(scene.id);
    this.view.hoverHere = (pane) => pane === this.hovered;
    this.tones();
    if (scene.frames.length) this.frame(Math.min(this.view.frame ?? Infinity, scene.frames.length - 1));
    this.arrange();
  }

  get layout() {
    const wish = this.view.layouts[this.scene.key] || this.scene.layout;
    return this.scene.layouts.includes(wish) ? wish : this.scene.layouts[0];
  }
  pick(i) { return clamp(i, 0, this.scene.names.length - 1); }

  /** What each pane shows, of the chosen layout. */
  specs() {
    const { scene, view } = this, all = scene.names.map((_, i) => i);
    const volume = this.pick(view.volume), other = this.pick(view.other);
    const one = (i) => ({ kind: scene.kinds[i], plane: view.plane, volume: i, title: scene.names[i], note: scene.notes[i] });
    switch (this.layout) {
      case 'planes':
        return Object.keys(PLANES).map((plane) => ({ kind: scene.kinds[volume], plane, volume, title: `${scene.names[volume]}, ${plane}` }));
      case 'side': return all.map(one);
      case 'difference':
        return all.filter((i) => i !== scene.reference && scene.kinds[i] === 'volume').map((i) => ({
          ...one(i), kind: 'difference', other: scene.reference, title: `${scene.names[i]} − ${scene.names[scene.reference]}`, note: '',
        }));
      default:
        return [...['axial', 'coronal']].map((plane) => ({ kind: 'swipe', plane, volume, other, title: scene.names[volume] }));
    }
  }

  arrange() {
    const specs = this.specs(), count = specs.length;
    const { names, layouts, note, frames, tiles } = this.scene;
    const print = JSON.stringify([this.layout, names, layouts, note, count, frames.length, Boolean(tiles)]);
    if (print !== this.print) {
      this.print = print;
      this.buildBar();
      this.buildFoot();
      this.buildReplay();
      this.grid.replaceChildren();
      this.panes = specs.map((_, i) => this.buildPane(i));
    }
    this.current = specs;
    this.mark();
    this.redraw();
  }

  // ---- tool bar

  group(label, options, get, set) {
    const node = make('span', { class: 'group', role: 'group', 'aria-label': label });
    for (const [value, text] of options) {
      node.append(make('button', { type: 'button', text, 'data-value': value, onclick: () => { set(value); this.arrange(); } }));
    }
    this.marks.push(() => node.childNodes.forEach((b) => b.setAttribute('aria-pressed', String(b.dataset.value === get()))));
    return node;
  }

  choice(label, options, get, set) {
    const select = make('select', { 'aria-label': label, onchange: () => { set(select.value); this.arrange(); } });
    for (const [value, text] of options) select.append(make('option', { value, text }));
    this.marks.push(() => { select.value = String(get()); });
    return make('label', {}, make('span', { text: label }), select);
  }

  buildBar() {
    const { scene } = this, v = this.view, layout = this.layout;
    this.marks = [];
    const parts = [], volumes = scene.names.map((name, i) => [String(i), name]);
    if (scene.layouts.length > 1) parts.push(this.group('Layout', scene.layouts.map((l) => [l, LAYOUTS[l]]), () => this.layout, (l) => { v.layouts[scene.key] = l; }));
    if (layout === 'side' || layout === 'difference') parts.push(this.group('Plane', Object.keys(PLANES).map((p) => [p, p]), () => v.plane, (p) => { v.plane = p; }));
    if (layout === 'planes' && volumes.length > 1) parts.push(this.choice('Volume', volumes, () => this.pick(v.volume), (i) => { v.volume = Number(i); }));
    if (layout === 'swipe') {
      parts.push(this.choice('Left', volumes, () => this.pick(v.volume), (i) => { v.volume = Number(i); }));
      parts.push(this.choice('Right', volumes, () => this.pick(v.other), (i) => { v.other = Number(i); }));
    }
    if (layout === 'difference') {
      parts.push(this.choice('Scale', RANGES.map((r) => [String(r), `±${r} HU`]), () => v.range, (r) => { v.range = Number(r); }));
    } else {
      const presets = Object.entries(scene.windows).map(([name]) => [name, name]);
      parts.push(this.choice('Window', [...presets, ['custom', 'custom']], () => {
        const hit = Object.entries(scene.windows).find(([, [l, w]]) => l === v.level && w === v.width);
        return hit ? hit[0] : 'custom';
      }, (name) => { if (scene.windows[name]) [v.level, v.width] = scene.windows[name]; this.moved(); }));
    }
    const single = (name, title, act) => {
      const button = make('button', { type: 'button', class: 'icon', title, 'aria-label': title, onclick: act });
      icon(button, name);
      return button;
    };
    parts.push(make('span', { class: 'space' }));
    const tools = make('span', { class: 'group', role: 'group', 'aria-label': 'Tools' });
    tools.append(single('play', 'Play through the slices', (e) => this.play(e.currentTarget)));
    tools.append(single('cross', 'Crosshair on or off', () => { v.crosshair = !v.crosshair; this.redraw(); }));
    if (scene.tiles || scene.frames.some((f) => f.tiles)) {
      const button = single('tiles', 'Tiles of the pass: show or hide', () => { v.tiles = !v.tiles; this.arrange(); });
      this.marks.push(() => button.setAttribute('aria-pressed', String(v.tiles)));
      tools.append(button);
    }
    tools.append(single('reset', 'Back to the start: zoom, position, window', () => {
      Object.assign(v, { zoom: 1, centre: [0.5, 0.5, 0.5], cursor: [0.5, 0.5, 0.5], cut: 0.5, level: scene.window[0], width: scene.window[1] });
      this.arrange();
    }));
    tools.append(single('full', 'Full screen', () => (document.fullscreenElement ? document.exitFullscreen() : this.root.requestFullscreen())));
    parts.push(tools);
    this.bar.replaceChildren(...parts);
  }

  mark() { this.marks.forEach((m) => m()); }

  play(button) {
    if (this.timer) { clearInterval(this.timer); this.timer = 0; icon(button, 'play'); return; }
    icon(button, 'pause');
    this.timer = setInterval(() => {
      if (!this.root.isConnected) { clearInterval(this.timer); this.timer = 0; return; }
      const axis = PLANES[this.current[0].plane].across, n = this.scene.shape[axis];
      this.view.cursor[axis] = ((at(this.view.cursor[axis], n) + 1) % n + 0.5) / n;
      this.redraw();
    }, 90);
  }

  // ---- replay: the frames of a run, all of them here already

  buildReplay() {
    const { frames } = this.scene;
    this.replay.replaceChildren();
    this.slider = null;
    if (!frames.length) return;
    const button = make('button', { type: 'button', class: 'icon', title: 'Replay the run', 'aria-label': 'Replay the run', onclick: () => this.run(button) });
    icon(button, 'play');
    this.slider = make('input', { type: 'range', min: 0, max: frames.length - 1, step: 1, 'aria-label': 'Replay', oninput: () => { this.frame(Number(this.slider.value)); this.arrange(); } });
    this.told = make('span', { class: 'told' });
    this.replay.append(button, this.slider, this.told);
    this.frame(this.view.frame);
  }

  frame(k) {
    const { scene } = this, frame = scene.frames[k];
    this.view.frame = k;
    scene.air ||= new Int16Array(scene.shape[0] * scene.shape[1] * scene.shape[2]).fill(-1000);
    scene.volumes = frame.at.map((i) => (i < 0 ? scene.air : scene.all[i]));
    scene.notes = frame.at.map((i) => (i < 0 ? 'not yet' : ''));
    scene.tiles = frame.tiles;
    if (!this.slider) return;
    this.slider.value = k;
    this.told.textContent = frame.title;
  }

  run(button) {
    if (this.running) { clearInterval(this.running); this.running = 0; icon(button, 'play'); return; }
    icon(button, 'pause');
    const last = this.scene.frames.length - 1;
    if (this.view.frame >= last) this.frame(0);
    this.arrange();
    this.running = setInterval(() => {
      if (!this.root.isConnected || this.view.frame >= this.scene.frames.length - 1) { clearInterval(this.running); this.running = 0; icon(button, 'play'); return; }
      this.frame(this.view.frame + 1);
      this.arrange();
    }, 320);
  }

  buildFoot() {
    this.ramp = make('canvas', { width: 160, height: 1 });
    this.low = make('span'); this.high = make('span'); this.where = make('span', { class: 'where' });
    const hint = 'wheel: slice · click: crosshair · right-drag: window · ctrl+wheel: zoom · shift-drag: move';
    this.foot.replaceChildren(
      make('span', { class: 'scale' }, this.low, this.ramp, this.high), this.where,
      make('span', { class: 'note', text: this.scene.note || '' }), make('span', { class: 'space' }),
      make('span', { class: 'hint', text: hint }),
    );
  }

  // ---- pictures

  buildPane(i) {
    const canvas = make('canvas', { tabindex: '0', role: 'img' });
    const slider = make('input', { type: 'range', min: 0, step: 1, 'aria-label': 'Slice', oninput: () => this.goto(i, Number(slider.value)) });
    this.grid.append(make('div', { class: 'pane' }, canvas, slider));
    const pane = new Pane(canvas);
    pane.slider = slider;
    gestures(this, pane, i);
    return pane;
  }

  goto(i, k) {
    const axis = PLANES[this.current[i].plane].across, n = this.scene.shape[axis];
    this.view.cursor[axis] = (clamp(k, 0, n - 1) + 0.5) / n;
    this.moved();
  }

  step(i, by) {
    const axis = PLANES[this.current[i].plane].across;
    this.goto(i, at(this.view.cursor[axis], this.scene.shape[axis]) + by);
  }

  moved() {
    this.redraw();
    if (!this.scene.report) return;
    clearTimeout(this.telling);
    this.telling = setTimeout(() => {
      const v = this.view;
      this.send('view', [...v.cursor.map((f) => Math.round(f * 1e4) / 1e4), v.level, v.width]);
    }, 300);
  }

  redraw() {
    if (!this.pending) this.pending = requestAnimationFrame(() => { this.pending = 0; this.draw(); });
  }

  draw() {
    if (!this.root.isConnected || !this.scene) return;
    const began = performance.now(), { scene, view } = this, specs = this.current;
    scene.grey = this.grey.set(view.level - view.width / 2, view.level + view.width / 2);
    scene.hot = this.heat.set(0, scene.heat);
    scene.signed = this.signed.set(-view.range, view.range);
    const width = this.root.clientWidth, full = document.fullscreenElement === this.root.getRootNode().host || this.root.matches(':fullscreen');
    const fit = Math.max(1, Math.min(this.layout === 'swipe' ? 2 : 4, Math.floor(width / (width < 700 ? 135 : 200))));
    const rows = Math.ceil(specs.length / fit), columns = Math.ceil(specs.length / rows), across = (width - 6 * (columns - 1)) / columns;
    const mm = scene.shape.map((n, a) => n * scene.spacing[a]);
    const tall = Math.min(1.15, Math.max(...Object.values(PLANES).map((p) => mm[p.v] / mm[p.u])));
    const cap = full ? (innerHeight - 110) / rows - 32 : scene.height * (rows > 1 ? 0.75 : 1);
    const height = Math.round(Math.min(cap, across * tall));
    this.grid.style.gridTemplateColumns = `repeat(${columns}, minmax(0, 1fr))`;
    this.panes.forEach((pane, i) => {
      const spec = specs[i], axis = PLANES[spec.plane].across;
      pane.canvas.style.height = `${height}px`;
      pane.canvas.setAttribute('aria-label', `${spec.title}, ${spec.plane} slice`);
      pane.slider.max = scene.shape[axis] - 1;
      pane.slider.value = at(view.cursor[axis], scene.shape[axis]);
      pane.resize(across, height, Math.min(2, devicePixelRatio || 1));
      pane.draw(scene, view, spec);
    });
    this.legend(mm);
    this.frames += 1;
    Object.assign(this.root.dataset, { ms: (performance.now() - began).toFixed(2), frames: this.frames, cursor: view.cursor.join(), window: `${view.level},${view.width}`, layout: this.layout, frame: view.frame ?? '' });
  }

  legend(mm) {
    const { view } = this, signed = this.layout === 'difference';
    const low = signed ? -view.range : Math.round(view.level - view.width / 2);
    const high = signed ? view.range : Math.round(view.level + view.width / 2);
    const c = this.ramp.getContext('2d'), image = c.createImageData(160, 1), colours = palette(signed ? SIGNED : GREY);
    const words = new Uint32Array(image.data.buffer);
    for (let i = 0; i < 160; i++) words[i] = colours[Math.round(i / 159 * 255)];
    c.putImageData(image, 0, 0);
    const minus = (v) => String(v).replace('-', '−');
    this.low.textContent = minus(low);
    this.high.textContent = `${signed ? '+' : ''}${minus(high)} HU`;
    const f = view.hover || view.cursor;
    const [z, y, x] = f.map((q, a) => minus(Math.round((q - 0.5) * mm[a])));
    this.where.textContent = `x ${x}  y ${y}  z ${z} mm`;
  }
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const root = parentElement.querySelector('.tv');
  if (!root || !data) return;
  if (!alive.has(root)) alive.set(root, new Viewer(root));
  alive.get(root).show(unpack(data), setStateValue);
}
