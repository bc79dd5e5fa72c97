// The layouts: which volumes and planes stand side by side.

/** What each is called, and what it is good for. */
const LAYOUTS = {
  planes: ['Planes', 'One volume in three planes'],
  side: ['Side by side', 'The same slice of all volumes'],
  changes: ['Changes', 'One step: what went in and came out, and what changed on the way: red is brighter, blue darker'],
  difference: ['Difference', 'Each volume minus the reference: red is too bright, blue too dark'],
  swipe: ['Swipe', 'Two volumes in one picture: drag the line between them'],
  flicker: ['Flicker', 'A volume and the reference in turn: the eye finds what differs'],
};

/** The volume that is shown in turn with the reference. */
function beside({ scene, view }) {
  const { names, reference } = scene, wish = clamp(view.volume, 0, names.length - 1);
  return wish !== reference ? wish : Math.max(0, names.findIndex((_, i) => i !== reference));
}

/** What each pane shows, of the chosen layout. */
function panesOf(viewer) {
  const { scene, view } = viewer, all = scene.names.map((_, i) => i);
  const volume = viewer.pick(view.volume), other = viewer.pick(view.other);
  const veil = (i) => (view.veil ? scene.veils[i] : -1);
  const one = (i) => ({ kind: scene.kinds[i], plane: view.plane, volume: i, title: scene.names[i], note: scene.notes[i], veil: veil(i) });
  switch (viewer.layout) {
    case 'planes':
      return Object.keys(PLANES).map((plane) => ({ kind: scene.kinds[volume], plane, volume, title: `${scene.names[volume]}, ${plane}`, veil: veil(volume) }));
    case 'side': return all.map(one);
    case 'difference': // deviations beside them: are the errors where they were foreseen?
      return all.filter((i) => i !== scene.reference).map((i) => (scene.kinds[i] === 'heat' ? one(i) : {
        ...one(i), veil: -1, kind: 'difference', other: scene.reference, title: `${scene.names[i]} − ${scene.names[scene.reference]}`,
      }));
    case 'changes': {
      const last = all.filter((i) => i === scene.reference && !scene.changes.some((c) => c.includes(i))); // it stands at the end
      const maps = scene.changes.map(([volume, other, title]) => ({ ...one(volume), veil: -1, kind: 'difference', other, title, note: '' }));
      return [...all.filter((i) => !last.includes(i)).map(one), ...maps, ...last.map(one)];
    }
    case 'flicker': {
      const i = viewer.flicker.second ? scene.reference : beside(viewer);
      return ['axial', 'coronal'].map((plane) => ({ ...one(i), plane }));
    }
    default:
      return [...['axial', 'coronal']].map((plane) => ({ kind: 'swipe', plane, volume, other, title: scene.names[volume] }));
  }
}

const GAP = 6; // between panes
const AROUND = 45; // pixels of a pane's caption and slider

/** Columns, and the size of a picture: as many side by side as there is room for, up to four, and six where there are many. */
function flowing({ root, scene, layout, current }, tall, full) {
  const width = root.clientWidth, count = current.length;
  const most = layout === 'swipe' || layout === 'flicker' ? 2 : count > 8 ? 6 : 4;
  const fit = Math.max(1, Math.min(most, Math.floor(width / clamp(width / 3.9, 135, 200))));
  const rows = Math.ceil(count / fit), columns = Math.ceil(count / rows), across = (width - GAP * (columns - 1)) / columns;
  const cap = full ? (innerHeight - 110 - GAP * (rows - 1)) / rows - AROUND : scene.height * (rows > 1 ? 0.75 : 1);
  return { columns, across, height: Math.round(Math.min(cap, across * tall)) };
}

/** The same, where all panes together are of one height: in so many columns that the pictures are largest. */
function steady({ root, scene, current }, tall) {
  const width = root.clientWidth, count = current.length;
  const ways = current.map((_, k) => {
    const columns = k + 1, rows = Math.ceil(count / columns);
    const across = (width - GAP * (columns - 1)) / columns, height = (scene.height - GAP * (rows - 1)) / rows - AROUND;
    return { columns, across, height, size: Math.min(across, height / tall) };
  });
  return ways.reduce((best, way) => (way.size > best.size + 1 ? way : best));
}
