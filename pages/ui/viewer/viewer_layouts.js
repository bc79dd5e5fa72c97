// Layouts: volumes and planes of the panes, and their sizes.

/** Label and tooltip of each layout. */
const LAYOUTS = {
  planes: ['Planes', 'One volume in three planes'],
  side: ['Side by side', 'The same slice of all volumes'],
  changes: ['Changes', 'Volumes before and after a step, and their differences: red is brighter, blue darker'],
  difference: ['Difference', 'Each volume minus the reference: red is too bright, blue too dark'],
  swipe: ['Swipe', 'Two volumes in one picture: drag the line between them'],
  flicker: ['Flicker', 'A volume and the reference in turn, which makes differences visible'],
};

/** Return the index of the volume that alternates with the reference. */
function flickerVolume({ scene, view }) {
  const { names, reference } = scene, requested = clamp(view.volume, 0, names.length - 1);
  return requested !== reference ? requested : Math.max(0, names.findIndex((_, i) => i !== reference));
}

/** Return the content of each pane in the chosen layout. */
function paneSpecs(viewer) {
  const { scene, view } = viewer, all = scene.names.map((_, i) => i);
  const volume = viewer.pick(view.volume), other = viewer.pick(view.other);
  const overlay = (i) => (view.showOverlay ? scene.overlays[i] : -1);
  const one = (i) => ({ kind: scene.kinds[i], plane: view.plane, volume: i, title: scene.names[i], note: scene.notes[i], overlay: overlay(i) });
  switch (viewer.layout) {
    case 'planes':
      return Object.keys(PLANES).map((plane) => ({ kind: scene.kinds[volume], plane, volume, title: `${scene.names[volume]}, ${plane}`, overlay: overlay(volume) }));
    case 'side': return all.map(one);
    case 'difference': // deviations are shown as they are, for comparison with the errors
      return all.filter((i) => i !== scene.reference).map((i) => (scene.kinds[i] === 'heat' ? one(i) : {
        ...one(i), overlay: -1, kind: 'difference', other: scene.reference, title: `${scene.names[i]} − ${scene.names[scene.reference]}`,
      }));
    case 'changes': {
      const last = all.filter((i) => i === scene.reference && !scene.changes.some((c) => c.includes(i))); // the reference comes last
      const maps = scene.changes.map(([volume, other, title]) => ({ ...one(volume), overlay: -1, kind: 'difference', other, title, note: '' }));
      return [...all.filter((i) => !last.includes(i)).map(one), ...maps, ...last.map(one)];
    }
    case 'flicker': {
      const i = viewer.flicker.second ? scene.reference : flickerVolume(viewer);
      return ['axial', 'coronal'].map((plane) => ({ ...one(i), plane }));
    }
    default:
      return [...['axial', 'coronal']].map((plane) => ({ kind: 'swipe', plane, volume, other, title: scene.names[volume] }));
  }
}

const GAP = 6; // between panes
const AROUND = 45; // pixels of a pane's caption and slider

/** Return columns and picture size: as many columns as fit, up to four, or six for more than eight pictures. */
function flowingLayout({ root, scene, layout, current }, tall, full) {
  const width = root.clientWidth, count = current.length;
  const most = layout === 'swipe' || layout === 'flicker' ? 2 : count > 8 ? 6 : 4;
  const fit = Math.max(1, Math.min(most, Math.floor(width / clamp(width / 3.9, 135, 200))));
  const rows = Math.ceil(count / fit), columns = Math.ceil(count / rows), across = (width - GAP * (columns - 1)) / columns;
  const cap = full ? (innerHeight - 110 - GAP * (rows - 1)) / rows - AROUND : scene.height * (rows > 1 ? 0.75 : 1);
  return { columns, across, height: Math.round(Math.min(cap, across * tall)) };
}

/** Return columns and picture size for a fixed total height: the number of columns that makes the pictures largest. */
function fixedLayout({ root, scene, current }, tall) {
  const width = root.clientWidth, count = current.length;
  const ways = current.map((_, k) => {
    const columns = k + 1, rows = Math.ceil(count / columns);
    const across = (width - GAP * (columns - 1)) / columns, height = (scene.height - GAP * (rows - 1)) / rows - AROUND;
    return { columns, across, height, size: Math.min(across, height / tall) };
  });
  return ways.reduce((best, way) => (way.size > best.size + 1 ? way : best));
}
