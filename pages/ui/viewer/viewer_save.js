// Picture of the current view as a PNG file: its panes, their captions, and a line about the scan.

const SAVED_WIDTH = 1920; // least width in pixels
const NOT_FOR_DIAGNOSIS = 'TomoPatch. Simulated; not for diagnosis.';

/** Return a canvas with the view as it is on the screen, without the controls. */
function pictureOfView(viewer) {
  const { scene, view, current, panes } = viewer, sizes = panes.map(({ canvas }) => [canvas.clientWidth, canvas.clientHeight]);
  const columns = viewer.grid.style.gridTemplateColumns.split(' ').length, rows = Math.ceil(panes.length / columns);
  const widths = Array.from({ length: columns }, (_, c) => Math.max(...sizes.filter((_, i) => i % columns === c).map(([w]) => w)));
  const heights = Array.from({ length: rows }, (_, r) => Math.max(...sizes.slice(r * columns, (r + 1) * columns).map(([, h]) => h)));
  const sum = (a) => a.reduce((s, n) => s + n, 0), head = 24, foot = 46;
  const width = sum(widths) + GAP * (columns + 1), height = sum(heights) + rows * (head + GAP) + GAP + foot;
  const K = Math.max(2, SAVED_WIDTH / width), out = document.createElement('canvas');
  out.width = Math.ceil(width * K); out.height = Math.ceil(height * K);
  const c = out.getContext('2d');
  c.fillStyle = '#fff'; c.fillRect(0, 0, out.width, out.height);
  const still = { ...view, hover: null, moving: 0 };
  panes.forEach((shown, i) => {
    const [w, h] = sizes[i], x = GAP + sum(widths.slice(0, i % columns)) + GAP * (i % columns);
    const r = Math.floor(i / columns), y = GAP + sum(heights.slice(0, r)) + r * (head + GAP);
    const dark = current[i].kind !== 'render', pane = new shown.constructor(document.createElement('canvas'));
    pane.resize(w, h, K, 1.15);
    pane.draw(scene, still, current[i]);
    c.fillStyle = dark ? '#000' : '#eef1f4'; c.fillRect(x * K, y * K, w * K, (h + head) * K);
    c.drawImage(pane.canvas, x * K, (y + head) * K);
    c.fillStyle = dark ? '#fff' : '#1c2733'; c.textBaseline = 'middle';
    c.font = `600 ${13.5 * K}px system-ui, sans-serif`; c.textAlign = 'left';
    const title = shown.name.textContent, note = shown.note.textContent;
    c.fillText(title, (x + 6) * K, (y + head / 2) * K, (note ? 0.62 : 0.95) * w * K);
    c.font = `${13 * K}px system-ui, sans-serif`; c.textAlign = 'right';
    if (note) c.fillText(note, (x + w - 6) * K, (y + head / 2) * K, 0.34 * w * K);
  });
  const range = `${viewer.low.textContent} to ${viewer.high.textContent}`, scale = viewer.layout === 'render' ? 'colours' : 'grey scale', lines = [
    scene.caption, `${viewer.placeText(view.cursor)}; ${scale} ${range}. ${NOT_FOR_DIAGNOSIS}`,
  ].filter(Boolean);
  c.fillStyle = '#1c2733'; c.textAlign = 'left'; c.font = `${13 * K}px system-ui, sans-serif`;
  lines.forEach((line, k) => c.fillText(line, GAP * K, (height - foot + 14 + 20 * k) * K, (width - 2 * GAP) * K));
  return out;
}

/** Download the view. */
function savePicture(viewer) {
  const { view } = viewer;
  pictureOfView(viewer).toBlob((blob) => {
    const link = make('a', { href: URL.createObjectURL(blob), download: `tomopatch-${viewer.layout}-${viewer.layout === 'render' ? view.space.preset : viewer.current[0].plane}.png` });
    link.click();
    setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
  }, 'image/png');
}
