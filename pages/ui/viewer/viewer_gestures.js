// Mouse, touch and keys of the slice viewer.

const clamp = (v, low, high) => Math.min(high, Math.max(low, v));

function gestures(viewer, pane, i) {
  const canvas = pane.canvas, fingers = new Map();
  let mode = '', from = null, travel = 0;
  const place = (e) => {
    const spot = pane.locate(e.clientX, e.clientY), plane = PLANES[pane.plane];
    return { spot, write: (f) => { f[plane.u] = clamp(spot.u, 0, 0.9999); f[plane.v] = clamp(spot.v, 0, 0.9999); } };
  };
  const zoom = (factor) => {
    viewer.view.zoom = clamp(viewer.view.zoom * factor, 1, 12);
    if (viewer.view.zoom === 1) viewer.view.centre = [0.5, 0.5, 0.5];
    viewer.redraw();
  };
  canvas.addEventListener('wheel', (e) => {
    e.preventDefault();
    if (e.ctrlKey) { zoom(Math.exp(-e.deltaY / 300)); return; }
    travel += e.deltaMode === 1 ? e.deltaY * 33 : e.deltaY; // touch pads send many small steps
    const steps = Math.abs(e.deltaY) >= 80 ? Math.sign(e.deltaY) : Math.trunc(travel / 30);
    if (steps) { travel = 0; viewer.step(i, -steps); }
  }, { passive: false });
  canvas.addEventListener('contextmenu', (e) => e.preventDefault());
  canvas.addEventListener('dblclick', () => zoom(0));
  canvas.addEventListener('pointerdown', (e) => {
    canvas.setPointerCapture(e.pointerId);
    canvas.focus({ preventScroll: true });
    fingers.set(e.pointerId, e);
    const { view } = viewer, plane = PLANES[pane.plane];
    from = { x: e.clientX, y: e.clientY, level: view.level, width: view.width, centre: [...view.centre], zoom: view.zoom };
    if (fingers.size === 2) { mode = 'pinch'; from.gap = gap(fingers); return; }
    const cut = pane.rect.x + view.divider * pane.rect.w, x = (e.clientX - canvas.getBoundingClientRect().left) * pane.screenRatio;
    if (e.button === 2) mode = 'window';
    else if (e.button === 1 || e.shiftKey) mode = 'move';
    else if (viewer.current[i].kind === 'swipe' && plane.u === 2 && Math.abs(x - cut) < 16 * pane.screenRatio) mode = 'swipe';
    else { mode = 'cross'; place(e).write(view.cursor); viewer.moved(); }
  });
  canvas.addEventListener('pointermove', (e) => {
    const { view } = viewer, { spot, write } = place(e), plane = PLANES[pane.plane];
    if (fingers.has(e.pointerId)) fingers.set(e.pointerId, e);
    viewer.hovered = pane;
    view.hover = null;
    if (mode === 'cross') { write(view.cursor); viewer.moved(); return; }
    if (mode === 'pinch' && fingers.size === 2) { view.zoom = clamp(from.zoom * gap(fingers) / from.gap, 1, 12); }
    else if (mode === 'window') {
      view.width = Math.round(clamp(from.width + 3 * (e.clientX - from.x), 1, 6000));
      view.level = Math.round(clamp(from.level - 3 * (e.clientY - from.y), -1500, 4000));
      viewer.updateButtons();
    } else if (mode === 'move') {
      view.centre[plane.u] = clamp(from.centre[plane.u] - (e.clientX - from.x) * pane.screenRatio / pane.rect.w, 0, 1);
      view.centre[plane.v] = clamp(from.centre[plane.v] - (plane.flip ? -1 : 1) * (e.clientY - from.y) * pane.screenRatio / pane.rect.h, 0, 1);
    } else if (mode === 'swipe') view.divider = clamp(spot.u, 0, 1);
    else if (spot.inside && e.pointerType !== 'touch') { view.hover = [...view.cursor]; write(view.hover); }
    viewer.redraw();
  });
  const end = (e) => {
    fingers.delete(e.pointerId);
    if (mode === 'window') viewer.moved();
    mode = '';
  };
  canvas.addEventListener('pointerup', end);
  canvas.addEventListener('pointercancel', end);
  canvas.addEventListener('pointerleave', () => { viewer.view.hover = null; viewer.redraw(); });
  const keys = { ArrowUp: 1, ArrowRight: 1, ArrowDown: -1, ArrowLeft: -1, PageUp: 10, PageDown: -10, Home: -1e6, End: 1e6 };
  canvas.addEventListener('keydown', (e) => {
    const preset = Object.values(viewer.scene.windows)[Number(e.key) - 1];
    if (e.key in keys) viewer.step(i, keys[e.key]);
    else if (e.key === ' ' && viewer.layout === 'flicker') viewer.flicker.toggle();
    else if (preset) { [viewer.view.level, viewer.view.width] = preset; viewer.arrange(); viewer.moved(); }
    else return;
    e.preventDefault();
    e.stopPropagation();
  });
}

function gap(fingers) {
  const [a, b] = [...fingers.values()];
  return Math.max(1, Math.hypot(a.clientX - b.clientX, a.clientY - b.clientY));
}
