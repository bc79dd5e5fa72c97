// Layouts: volumes and planes of the panes, and their sizes.

/** Label and tooltip of each layout. */
const LAYOUTS = {
  planes: ['Planes', 'One volume in three planes'],
  side: ['Side by side', 'The same slice of all volumes'],
  changes: ['Changes', 'Volumes before and after a step, and their differences: red is brighter, blue darker'],
  difference: ['Difference', 'Each volume minus the reference: red is too bright, blue too dark'],
  swipe: ['Swipe', 'Two volumes in one picture: drag the line between them'],
  flicker: ['Flicker', 'A volume and the reference in turn, which makes differences visible'],
  render: ['3D', 'Volume rendering of one or two volumes, which turn together'],
};

/** Return the index of the volume that alternates with the reference. */
function flickerVolume({ scene, view }) {
  const { names, reference } = scene, requested = clamp(view.volume, 0, names.length - 1);
  return requested !== reference ? requested : Math.max(0, names.findIndex((_, i) => i !== reference));
}

/** Return the indices of all volumes as they are shown: the reference comes first, on every page. */
function shownOrder({ names, reference }) {
  const all = names.map((_, i) => i);
  return names[reference] === undefined ? all : [reference, ...all.filter((i) => i !== reference)];
}

/** Return the volumes to the left and to the right of the line: the reference and the first other, until chosen. */
function swiped({ scene, view }) {
  const order = shownOrder(scene), able = (i, other) => (i < order.length && i >= 0 ? i : other);
  return [able(view.left, order[0]), able(view.right, order[1] ?? order[0])];
}

/** Return the indices of the volumes that can be rendered; deviations are none. */
function renderable({ kinds }) { return kinds.flatMap((kind, i) => (kind === 'volume' ? [i] : [])); }

/** Return the indices of the one or two rendered volumes. */
function renderedVolumes({ scene, view }) {
  const able = renderable(scene), [first, second] = view.space.shown;
  const left = able.includes(first) ? first : able[0];
  return able.includes(second) && second !== left ? [left, second] : [left];
}

const LEAST_ACROSS = 4; // voxels of a picture; a volume of fewer slices has its axial picture alone

/** Return those of the planes whose pictures are more than a few voxels across. */
function worthShowing({ shape }, planes) {
  return planes.filter((plane) => plane === 'axial' || Math.min(shape[PLANES[plane].u], shape[PLANES[plane].v]) >= LEAST_ACROSS);
}

/** Return the content of each pane in the chosen layout. */
function paneSpecs(viewer) {
  const { scene, view } = viewer, all = shownOrder(scene), volume = viewer.pick(view.volume), [left, right] = swiped(viewer);
  const overlay = (i) => (view.showOverlay ? scene.overlays[i] : -1);
  const one = (i) => ({ kind: scene.kinds[i], plane: view.plane, volume: i, title: scene.names[i], note: scene.notes[i], overlay: overlay(i) });
  switch (viewer.layout) {
    case 'planes':
      return worthShowing(scene, Object.keys(PLANES)).map((plane) => ({ kind: scene.kinds[volume], plane, volume, title: `${scene.names[volume]}, ${plane}`, overlay: overlay(volume) }));
    case 'side': return all.map(one);
    case 'difference': // deviations are shown as they are, for comparison with the errors
      return all.filter((i) => i !== scene.reference).map((i) => (scene.kinds[i] === 'heat' ? one(i) : {
        ...one(i), overlay: -1, kind: 'difference', other: scene.reference, title: `${scene.names[i]} − ${scene.names[scene.reference]}`,
      }));
    case 'changes': {
      const maps = scene.changes.map(([volume, other, title]) => ({ ...one(volume), overlay: -1, kind: 'difference', other, title, note: '' }));
      return [...all.map(one), ...maps];
    }
    case 'flicker': {
      const i = viewer.flicker.second ? scene.reference : flickerVolume(viewer);
      return worthShowing(scene, ['axial', 'coronal']).map((plane) => ({ ...one(i), plane }));
    }
    case 'render': {
      const shown = renderedVolumes(viewer), tall = tallOf(scene);
      return shown.map((i) => ({ ...one(i), kind: 'render', overlay: -1, tall }));
    }
    default:
      return worthShowing(scene, ['axial', 'coronal']).map((plane) => ({ kind: 'swipe', plane, volume: left, other: right, title: scene.names[left] }));
  }
}

const GAP = 6; // between panes
const AROUND = 45; // pixels of a pane's caption and slider
const AROUND_FULL = 62; // the same with the larger labels of the full screen
const LEAST_WIDTH = 110; // of a pane, for its caption

/** Return the height for all pictures together. */
function totalHeight({ root, bar, foot, replay, scene, current }, full) {
  if (full) return Math.max(100, innerHeight - bar.offsetHeight - foot.offsetHeight - replay.root.offsetHeight - 24 - 8 * (replay.root.offsetHeight ? 3 : 2));
  const width = root.clientWidth;
  if (scene.fixedHeight) { // higher where two rows of two need it
    return width < 760 ? clamp(2 * (width / 2 + AROUND) + GAP, scene.height, 1.3 * scene.height) : scene.height;
  }
  return current.length > 3 || width < 760 ? Math.max(scene.height + AROUND, Math.min(0.68 * innerHeight, 1.6 * scene.height)) : scene.height + AROUND;
}

/**
 * Return the size of each pane and the widths of the columns.
 *
 * Each picture fills its pane, and all have the same scale. Of all numbers of columns, the one with the largest
 * pictures is chosen.
 */
function arrangePanes(viewer, full) {
  const { grid, scene, current } = viewer, width = grid.clientWidth, count = current.length, around = full ? AROUND_FULL : AROUND;
  const total = totalHeight(viewer, full), { low, up } = shownField(scene, viewer.view), mm = scene.shape.map((n, a) => n * scene.spacing[a] * (up[a] - low[a]));
  const pictures = current.map(({ plane, tall }) => {
    const { u, v } = PLANES[plane];
    return { wide: mm[u], high: mm[u] * clamp(tall || mm[v] / mm[u], 0.25, 4) };
  });
  const sumOfLargest = (sizes, group, groups) => Array.from({ length: groups }, (_, g) => Math.max(0, ...sizes.filter((_, i) => group(i) === g))).reduce((a, b) => a + b, 0);
  const ways = current.map((_, k) => {
    const columns = k + 1, rows = Math.ceil(count / columns), across = (width - GAP * (columns - 1)) / columns;
    const wide = sumOfLargest(pictures.map((p) => p.wide), (i) => i % columns, columns), high = sumOfLargest(pictures.map((p) => p.high), (i) => Math.floor(i / columns), rows);
    const scale = Math.min((across * columns) / wide, Math.max(40, total - GAP * (rows - 1) - rows * around) / high);
    const panes = pictures.map((p) => ({ width: Math.max(Math.min(across, LEAST_WIDTH), p.wide * scale), height: Math.round(p.high * scale) }));
    return { columns, panes, size: pictures.reduce((sum, p) => sum + p.wide * p.high * scale * scale, 0) };
  });
  const { columns, panes } = ways.reduce((best, way) => (way.size > best.size * 1.02 ? way : best));
  const widths = Array.from({ length: Math.min(columns, count) }, (_, c) => Math.max(...panes.filter((_, i) => i % columns === c).map((p) => p.width)));
  return { panes, widths, total };
}
