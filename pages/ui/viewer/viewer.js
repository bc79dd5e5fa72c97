// Slice viewer: state, toolbar and layout. All interaction happens in the browser; the server sends each volume once.

const viewStates = new Map(); // view state by viewer id: survives new data, reruns and page changes
const mounted = new WeakMap(); // viewer by mounted element
let openedView = ''; // of the experiment that was opened last

const RANGES = [50, 100, 200, 400, 1000];
const CHOICES = {
  Window: 'Window: the HU range from black to white. Keys 1 to 5, or drag with the right button',
  Scale: 'Scale: the largest difference on the colour scale',
};

class Viewer {
  constructor(root) {
    this.root = root;
    this.bar = make('div', { class: 'bar', role: 'toolbar', 'aria-label': 'Viewer' });
    this.grid = make('div', { class: 'panes' });
    this.foot = make('div', { class: 'foot' });
    this.replay = new Replay(this);
    this.flicker = new Flicker(this);
    root.replaceChildren(this.bar, this.replay.root, this.grid, this.foot);
    this.panes = [];
    this.grey = new Lookup(GREY);
    this.signed = new Lookup(SIGNED);
    this.heat = new Lookup(HEAT);
    this.overlayLookup = new Lookup(OVERLAY);
    this.frames = 0;
    new ResizeObserver(() => this.redraw()).observe(root);
    addEventListener('tomopatch-view', () => { if (root.isConnected && this.scene) this.applyView(linkedView()); }); // after Back or Forward
    this.updateAccent();
  }

  // The accent colour may be light or dark; the text on it is dark or white accordingly.
  updateAccent() {
    const probe = make('i', { style: 'color: var(--st-primary-color)' });
    this.root.append(probe);
    const [r, g, b] = getComputedStyle(probe).color.match(/[\d.]+/g).map(Number);
    probe.remove();
    this.root.style.setProperty('--on-primary', 0.299 * r + 0.587 * g + 0.114 * b > 150 ? '#10161d' : '#fff');
  }

  show(scene, send) {
    this.scene = scene;
    this.send = send;
    if (!viewStates.has(scene.id)) {
      viewStates.set(scene.id, {
        cursor: scene.cursor || [0.5, 0.5, 0.5], centre: [0.5, 0.5, 0.5], zoom: 1, divider: 0.5, smooth: true, crosshair: true,
        level: scene.window[0], width: scene.window[1], layouts: {}, range: scene.range,
        volume: 0, left: -1, right: -1, hover: null, tiles: true, mip: false, otherWindow: scene.windows.bone, showOverlay: false,
        space: initialSpace(scene),
      });
    }
    const first = this.view !== viewStates.get(scene.id);
    this.view = viewStates.get(scene.id);
    if (first && !this.view.linked) { // once per page load
      this.view.linked = true;
      this.written = writeView(this);
      this.applyView(linkedView());
    } else if (first) this.written = writeView(this);
    if (this.view.serverPlane !== scene.plane) this.view.plane = this.view.serverPlane = scene.plane; // chosen in another viewer
    if (scene.opened && scene.opened !== openedView) { openedView = scene.opened; this.applyView(scene.opened.replace(/^\d+:/, '')); }
    this.view.isHovered = (pane) => pane === this.hovered;
    this.updateAccent();
    this.replay.show(scene, this.view);
    this.arrange();
  }

  get layout() {
    const requested = this.view.layouts[this.scene.key] || this.scene.layout;
    return this.scene.layouts.includes(requested) ? requested : this.scene.layouts[0];
  }
  pick(i) { return clamp(i, 0, this.scene.names.length - 1); }

  arrange() {
    const specs = paneSpecs(this), count = specs.length;
    const { names, layouts, note, frames, tiles } = this.scene;
    const signature = JSON.stringify([this.layout, this.layout === 'render' && this.view.space.preset === 'window', names, layouts, note, count, frames.length, Boolean(tiles)]);
    const rebuilt = signature !== this.signature;
    if (rebuilt) {
      this.signature = signature;
      this.buildBar();
      this.buildFoot();
      this.replay.build();
      this.grid.replaceChildren();
      this.panes = specs.map((_, i) => this.buildPane(i));
    }
    this.current = specs;
    this.flicker.update();
    this.updateButtons();
    this.keepBarHeight();
    if (rebuilt) this.draw(); // at once: undrawn canvases have another height
    else this.redraw();
  }

  // ---- toolbar

  /** With fixed height, the toolbar never becomes lower, so that the pictures below it do not move. */
  keepBarHeight() {
    const { bar, root, scene, view } = this, width = root.clientWidth;
    bar.style.minHeight = '';
    if (!scene.fixedHeight || !width) return;
    if (view.barWidth !== width) Object.assign(view, { barWidth: width, barHeight: 0 });
    view.barHeight = Math.max(view.barHeight, bar.offsetHeight);
    bar.style.minHeight = `${view.barHeight}px`;
  }

  group(label, options, get, set) {
    const node = make('span', { class: 'group', role: 'group', 'aria-label': label });
    for (const [value, text, title = ''] of options) {
      node.append(make('button', { type: 'button', text, title, 'data-value': value, onclick: () => { set(value); this.arrange(); } }));
    }
    this.buttonUpdates.push(() => node.childNodes.forEach((b) => b.setAttribute('aria-pressed', String(b.dataset.value === get()))));
    return node;
  }

  choice(label, options, get, set) {
    const select = make('select', { 'aria-label': label, title: CHOICES[label] || label, onchange: () => { set(select.value); this.arrange(); } });
    for (const [value, text] of options) select.append(make('option', { value, text }));
    this.buttonUpdates.push(() => { select.value = String(get()); });
    return make('label', {}, ...(label === 'Window' ? [] : [make('span', { text: label })]), select);
  }

  buildBar() {
    const { scene } = this, v = this.view, layout = this.layout;
    this.buttonUpdates = [];
    const single = (name, title, act) => {
      const button = make('button', { type: 'button', class: 'icon', title, 'aria-label': title, onclick: act });
      icon(button, name);
      return button;
    };
    const parts = [], volumes = scene.names.map((name, i) => [String(i), name]);
    if (scene.layouts.length > 1) parts.push(this.group('Layout', scene.layouts.map((l) => [l, ...LAYOUTS[l]]), () => this.layout, (l) => { v.layouts[scene.key] = l; }));
    if (['side', 'difference', 'changes'].includes(layout)) parts.push(this.group('Plane', Object.keys(PLANES).map((p) => [p, p]), () => v.plane, (p) => { v.plane = p; this.send('plane', p); }));
    if (layout === 'planes' && volumes.length > 1) parts.push(this.choice('Volume', volumes, () => this.pick(v.volume), (i) => { v.volume = Number(i); }));
    if (layout === 'swipe') {
      parts.push(this.choice('Left', volumes, () => swiped(this)[0], (i) => { v.left = Number(i); }));
      parts.push(this.choice('Right', volumes, () => swiped(this)[1], (i) => { v.right = Number(i); }));
    }
    if (layout === 'flicker') {
      parts.push(this.choice(`${scene.names[scene.reference]} and`, volumes.filter((_, i) => i !== scene.reference), () => flickerVolume(this), (i) => { v.volume = Number(i); }));
      parts.push(make('span', { class: 'group' }, single('pause', 'Pause or continue (space bar)', () => this.flicker.toggle())));
    }
    if (layout === 'render') {
      const able = renderable(scene).map((i) => volumes[i]), shown = () => renderedVolumes(this);
      parts.push(this.group('Preset', Object.entries(PRESETS).map(([name, p]) => [name, p.label, p.title]), () => v.space.preset, (name) => { v.space.preset = name; }));
      if (able.length > 1) {
        parts.push(this.choice('Left', able, () => shown()[0], (i) => { const [a, b = -1] = shown(); v.space.shown = [Number(i), b === Number(i) ? a : b]; }));
        parts.push(this.choice('Right', [...able, ['-1', 'none']], () => shown()[1] ?? -1, (i) => { v.space.shown = [shown()[0], Number(i)]; }));
      }
    }
    if (layout !== 'difference' && layout !== 'render') {
      const mip = make('button', { type: 'button', text: 'MIP', title: 'Maximum intensity projection: the brightest voxel along each line of sight', onclick: () => this.project(!v.mip) });
      this.buttonUpdates.push(() => mip.setAttribute('aria-pressed', String(v.mip)));
      parts.push(make('span', { class: 'group' }, mip));
    }
    if (scene.places.length && layout !== 'render') {
      parts.push(make('span', { class: 'group' }, make('button', { type: 'button', text: 'Go to lesion', title: 'Move the crosshair to the planted lesion; press again for the next one', onclick: () => this.goToLesion() })));
    }
    if (layout === 'difference' || layout === 'changes') {
      parts.push(this.choice('Scale', RANGES.map((r) => [String(r), `±${r} HU`]), () => v.range, (r) => { v.range = Number(r); }));
    }
    if (layout !== 'difference' && (layout !== 'render' || v.space.preset === 'window')) {
      const presets = Object.entries(scene.windows).map(([name]) => [name, name]);
      parts.push(this.choice('Window', [...presets, ['custom', 'custom']], () => {
        const hit = Object.entries(scene.windows).find(([, [l, w]]) => l === v.level && w === v.width);
        return hit ? hit[0] : 'custom';
      }, (name) => { if (scene.windows[name]) [v.level, v.width] = scene.windows[name]; this.moved(); }));
    }
    parts.push(make('span', { class: 'space' }));
    const tools = make('span', { class: 'group', role: 'group', 'aria-label': 'Tools' });
    if (layout !== 'render') tools.append(single('play', 'Play through the slices', (e) => this.play(e.currentTarget)));
    const cross = single('cross', 'Crosshair: show or hide', () => { v.crosshair = !v.crosshair; this.arrange(); });
    this.buttonUpdates.push(() => cross.setAttribute('aria-pressed', String(v.crosshair)));
    if (layout !== 'render') tools.append(cross);
    if (layout !== 'render' && (scene.tiles || scene.frames.some((f) => f.tiles))) {
      const button = single('tiles', 'Tiles of this pass: show or hide', () => { v.tiles = !v.tiles; this.arrange(); });
      this.buttonUpdates.push(() => button.setAttribute('aria-pressed', String(v.tiles)));
      tools.append(button);
    }
    if (scene.kinds.includes('heat') && !['difference', 'swipe', 'render'].includes(layout)) {
      const button = single('overlay', 'Deviation as an overlay: show or hide', () => { v.showOverlay = !v.showOverlay; this.arrange(); });
      this.buttonUpdates.push(() => button.setAttribute('aria-pressed', String(v.showOverlay)));
      tools.append(button);
    }
    if (scene.fit && layout !== 'render') {
      const field = single('field', 'Full field: show it, or the object alone', () => { v.fullField = !v.fullField; this.arrange(); });
      this.buttonUpdates.push(() => field.setAttribute('aria-pressed', String(Boolean(v.fullField))));
      tools.append(field);
    }
    tools.append(single('reset', 'Reset zoom, position and window', () => {
      Object.assign(v, { zoom: 1, centre: [0.5, 0.5, 0.5], cursor: [0.5, 0.5, 0.5], divider: 0.5, mip: false, otherWindow: scene.windows.bone, level: scene.window[0], width: scene.window[1] });
      Object.assign(v.space, CAMERA);
      this.arrange();
    }));
    tools.append(single('save', 'This view as PNG', () => savePicture(this)));
    tools.append(single('full', 'Full screen', () => (document.fullscreenElement ? document.exitFullscreen() : this.root.requestFullscreen())));
    parts.push(tools);
    this.bar.replaceChildren(...parts);
  }

  /** Switch maximum intensity projection on or off. Projections have a separate window, since they show bright voxels only. */
  project(mip) {
    const v = this.view;
    if (mip !== v.mip) [v.level, v.width, v.otherWindow] = [...v.otherWindow, [v.level, v.width]];
    v.mip = mip;
    this.arrange();
    this.moved();
  }

  updateButtons() { this.buttonUpdates.forEach((m) => m()); }

  play(button) {
    if (this.timer) { clearInterval(this.timer); this.timer = 0; icon(button, 'play'); return; }
    icon(button, 'pause');
    this.timer = setInterval(() => {
      if (!this.root.isConnected) { clearInterval(this.timer); this.timer = 0; return; }
      const axis = PLANES[this.current[0].plane].across, n = this.scene.shape[axis];
      this.setAcross(axis, ((indexAt(this.view.cursor[axis], n) + 1) % n + 0.5) / n);
      this.redraw();
    }, 90);
  }

  buildFoot() {
    this.ramp = make('canvas', { width: 160, height: 1, role: 'img' });
    this.low = make('span'); this.high = make('span'); this.position = make('span', { class: 'where' }); this.note = make('span', { class: 'note' });
    const hint = this.layout === 'render' ? 'drag, arrows: turn · wheel, pinch, + and −: zoom · double click: as before · 1 to 4: preset' : 'wheel, arrows: slice · click: crosshair · right-drag: window · ctrl+wheel: zoom · shift-drag: move' + (this.layout === 'flicker' ? ' · space: pause' : '');
    this.foot.replaceChildren(
      make('span', { class: 'scale' }, this.low, this.ramp, this.high), this.position,
      this.note, make('span', { class: 'space' }),
      make('span', { class: 'hint', text: hint }),
    );
  }

  // ---- pictures

  buildPane(i) {
    const render = this.layout === 'render', canvas = make('canvas', { tabindex: '0', role: 'img' });
    const slider = make('input', { type: 'range', min: 0, step: 1, 'aria-label': 'Slice', oninput: () => this.goToSlice(i, Number(slider.value)) });
    const name = make('b'), note = make('span');
    this.grid.append(make('div', { class: render ? 'pane space-pane' : 'pane' }, make('div', { class: 'caption' }, name, note), canvas, ...(render ? [] : [slider])));
    const pane = render ? new SpacePane(canvas) : new Pane(canvas);
    pane.name = name;
    pane.note = note;
    pane.slider = slider;
    if (render) spaceGestures(this, pane);
    else gestures(this, pane, i);
    return pane;
  }

  goToSlice(i, k) {
    const axis = PLANES[this.current[i].plane].across, n = this.scene.shape[axis];
    this.setAcross(axis, (clamp(k, 0, n - 1) + 0.5) / n);
    this.moved();
  }

  /** Move the crosshair along this axis; the readout under the pointer follows to the new slice. */
  setAcross(axis, fraction) {
    this.view.cursor[axis] = fraction;
    if (this.view.hover && this.hovered && PLANES[this.hovered.plane].across === axis) this.view.hover[axis] = fraction;
  }

  step(i, by) {
    const axis = PLANES[this.current[i].plane].across;
    this.goToSlice(i, indexAt(this.view.cursor[axis], this.scene.shape[axis]) + by);
  }

  goToLesion() {
    const { view, scene } = this;
    this.lesion = ((this.lesion ?? -1) + 1) % scene.places.length;
    const place = scene.places[this.lesion].map((f) => clamp(f, 0, 0.9999));
    const { low, up } = shownField(scene, view), centre = place.map((f, a) => f + 0.5 - (low[a] + up[a]) / 2);
    Object.assign(view, { cursor: [...place], hover: null, ...(view.zoom > 1 ? { centre } : {}) });
    this.moved();
  }

  moved() { this.redraw(); }

  /** Redraw a turning object, with fine pictures once it rests. */
  inMotion() {
    const { view } = this;
    clearTimeout(view.moving);
    view.moving = setTimeout(() => { view.moving = 0; this.redraw(); }, AT_REST);
    this.redraw();
  }

  /** Show a view from the address or from an experiment, if it is one of this viewer. */
  applyView(text) {
    if (readView(this, text)) this.redraw();
  }

  /** Write a changed view into the address and report it to the server, once it no longer moves. */
  settle() {
    clearTimeout(this.settleTimer);
    this.settleTimer = setTimeout(() => {
      const text = writeView(this), v = this.view;
      if (text === this.written || !this.root.isConnected) return;
      this.written = text;
      window.tomopatchAddress?.setView(text === defaultView(this) ? '' : text);
      if (this.scene.report) this.send('view', [...v.cursor.map(rounded), v.level, v.width, text]);
    }, 300);
  }

  redraw() {
    if (!this.pending) this.pending = requestAnimationFrame(() => { this.pending = 0; this.draw(); });
  }

  draw() {
    if (!this.root.isConnected || !this.scene) return;
    const began = performance.now(), { scene, view } = this, specs = this.current;
    if (view.barWidth !== this.root.clientWidth) this.keepBarHeight(); // the width has changed
    scene.greyTable = this.grey.set(view.level - view.width / 2, view.level + view.width / 2);
    scene.heatTable = this.heat.set(0, scene.heat);
    scene.overlayTable = this.overlayLookup.set(0, scene.heat);
    scene.signedTable = this.signed.set(-view.range, view.range);
    const full = document.fullscreenElement === this.root.getRootNode().host || this.root.matches(':fullscreen');
    this.root.classList.toggle('full', full);
    const { panes, widths, total } = arrangePanes(this, full);
    this.grid.style.gridTemplateColumns = widths.map((w) => `${w}px`).join(' ');
    this.grid.style.minHeight = scene.fixedHeight || full ? `${total}px` : this.heightBefore(); // nothing below moves when panes are added
    const sinceLast = began - this.lastDrawn;
    this.lastDrawn = began;
    this.panes.forEach((pane, i) => {
      const spec = specs[i], axis = PLANES[spec.plane].across;
      const { width: across, height } = panes[i];
      pane.canvas.style.height = `${height}px`;
      pane.canvas.parentElement.style.width = `${across}px`;
      const note = spec.kind === 'swipe' ? scene.names[spec.other] : scene.pending[spec.volume] ? '' : spec.kind === 'heat' ? `0 … ${scene.heat} HU` : spec.note || '';
      for (const [node, text] of [[pane.name, spec.title], [pane.note, note]]) node.textContent = node.title = text;
      pane.note.className = spec.kind === 'swipe' ? 'name' : '';
      pane.canvas.setAttribute('aria-label', pane.describe(scene, view, spec));
      pane.slider.setAttribute('aria-label', `Slice of ${spec.title}`);
      pane.slider.max = scene.shape[axis] - 1;
      pane.slider.value = indexAt(view.cursor[axis], scene.shape[axis]);
      pane.resize(across, height, Math.min(2, devicePixelRatio || 1), full ? 1.5 : 1);
      pane.draw(scene, view, spec);
      if (view.moving && pane.pace && sinceLast < AT_REST) pane.pace(sinceLast);
    });
    if (scene.pending[scene.reference]) this.before = { height: this.grid.offsetHeight, width: this.root.clientWidth, layout: this.layout };
    this.legend();
    this.settle();
    this.frames += 1;
    Object.assign(this.root.dataset, { ms: (performance.now() - began).toFixed(2), frames: this.frames, cursor: view.cursor.join(), camera: cameraText(view.space), window: `${view.level},${view.width}`, layout: this.layout, frame: view.frame ?? '' });
  }

  /** Return the height of the pictures before the reference came, whose object they fit since then. */
  heightBefore() {
    const { before, root, layout } = this;
    return before && before.layout === layout && before.width === root.clientWidth ? `${before.height}px` : '';
  }

  legend() {
    const { view, layout } = this, render = layout === 'render', signed = layout === 'difference';
    const stops = render ? stopsOf(view.space.preset, view) : [];
    const low = render ? stops[0][0] : signed ? -view.range : view.level - view.width / 2;
    const high = render ? stops.at(-1)[0] : signed ? view.range : view.level + view.width / 2;
    const c = this.ramp.getContext('2d'), image = c.createImageData(160, 1), colours = palette(signed ? SIGNED : GREY);
    const words = new Uint32Array(image.data.buffer);
    for (let i = 0; i < 160; i++) words[i] = render ? packedColour(transferAt(stops, low + i / 159 * (high - low)).slice(1)) : colours[Math.round(i / 159 * 255)];
    c.putImageData(image, 0, 0);
    const minus = (v) => String(Math.round(v)).replace('-', '−');
    this.low.textContent = minus(low);
    this.high.textContent = `${signed ? '+' : ''}${minus(high)} HU`;
    this.ramp.setAttribute('aria-label', `Colours from ${this.low.textContent} to ${this.high.textContent}`);
    this.position.textContent = this.placeText(view.hover || view.cursor);
    this.note.textContent = render && renderer().isSoftware ? STILL_NOTE : this.scene.note || '';
  }

  /** Return what the line below the pictures says: the camera, or the position. */
  placeText(at) { return this.layout === 'render' ? cameraText(this.view.space) : this.positionText(at); }

  /** Return a position, given as fractions (z, y, x), in mm from the centre. */
  positionText(at) {
    const { shape, spacing } = this.scene;
    const [z, y, x] = at.map((q, a) => fixed((q - 0.5) * shape[a] * spacing[a], spacing[a]).replace('-', '−'));
    return `x ${x} · y ${y} · z ${z} mm`;
  }
}

export default function (component) {
  const { data, parentElement, setStateValue } = component;
  const root = parentElement.querySelector('.tv');
  if (!root || !data) return;
  if (!mounted.has(root)) mounted.set(root, new Viewer(root));
  mounted.get(root).show(unpack(data), setStateValue);
}
