// Mouse, touch and keyboard control of the scan view.

function addControls(sv) {
  let from = null;
  const space = sv.space;
  space.onpointerdown = (e) => { space.setPointerCapture(e.pointerId); from = { x: e.clientX, y: e.clientY, yaw: sv.s.yaw, pitch: sv.s.pitch }; };
  const turn = (yaw, pitch) => { sv.s.yaw = yaw; sv.s.pitch = clamp(pitch, 0.08, Math.PI / 2); sv.scheduleDraw(); };
  space.onpointermove = (e) => { if (from) turn(from.yaw - (e.clientX - from.x) / 180, from.pitch + (e.clientY - from.y) / 180); };
  space.onpointerup = space.onpointercancel = () => { from = null; };

  /** Call `act` with fractions of the picture while the pointer is down; `box` is the picture's place on its canvas. */
  const drag = (node, box, act) => {
    let down = false;
    const go = (e) => {
      const b = node.getBoundingClientRect(), k = box();
      act(((e.clientX - b.left) * k.ratio - k.x) / k.W, ((e.clientY - b.top) * k.ratio - k.y) / k.H);
    };
    node.onpointerdown = (e) => { down = true; node.setPointerCapture(e.pointerId); go(e); };
    node.onpointermove = (e) => { if (down) go(e); };
    node.onpointerup = node.onpointercancel = () => { down = false; };
  };
  const view = (k) => { sv.s.playing = false; sv.s.view = clamp(k, 0, sv.scan.shape[1] - 1); };
  const place = (fx, fy) => { const { low, size } = sv.scan; sv.selectVoxel([sv.s.z, low[1] + fy * size[1], low[2] + fx * size[2]]); };
  drag(sv.slice, () => sv.sliceBox, place);
  drag(sv.projectionCanvas, () => sv.projectionBox, (fx, fy) => sv.selectRay(1 - fy, fx));
  drag(sv.sinogramCanvas, () => ({ x: 0, y: 0, W: sv.sinogramCanvas.clientWidth, H: sv.sinogramCanvas.clientHeight, ratio: 1 }), (fx, fy) => {
    view(Math.floor(fy * sv.scan.shape[1]));
    sv.selectRay(sv.s.row, fx);
  });

  const moveSlice = (by) => {
    const z = sv.height(sv.s.z + by * sv.scan.size[0] / sv.scan.volumeShape[0]);
    if (sv.s.voxel) sv.selectVoxel([z, sv.s.voxel[1], sv.s.voxel[2]]);
    else { sv.s.z = z; sv.scheduleDraw(); }
  };
  sv.slice.addEventListener('wheel', (e) => { e.preventDefault(); moveSlice(-Math.sign(e.deltaY)); }, { passive: false });

  const arrows = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  const keys = (node, act) => {
    node.onkeydown = (e) => {
      if (e.key in arrows) act(...arrows[e.key]);
      else if (node === sv.slice && (e.key === 'PageUp' || e.key === 'PageDown')) moveSlice(e.key === 'PageUp' ? 1 : -1);
      else return;
      e.preventDefault(); e.stopPropagation();
    };
  };
  const pixel = () => [1 / sv.scan.shape[0], 1 / sv.scan.shape[2]];
  keys(space, (x, y) => turn(sv.s.yaw - x / 10, sv.s.pitch + y / 10));
  keys(sv.slice, (x, y) => {
    const { size, volumeShape: n, low } = sv.scan, [, vy, vx] = sv.s.voxel || [0, low[1] + size[1] / 2, low[2] + size[2] / 2];
    sv.selectVoxel([sv.s.z, vy + y * size[1] / n[1], vx + x * size[2] / n[2]]);
  });
  keys(sv.projectionCanvas, (x, y) => sv.selectRay(sv.s.row - y * pixel()[0], sv.s.column + x * pixel()[1]));
  keys(sv.sinogramCanvas, (x, y) => { view(sv.s.view + y); sv.selectRay(sv.s.row, sv.s.column + x * pixel()[1]); });
}
