// Elements and icons of the slice viewer's toolbar.

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

// Icons are drawn, since not all fonts contain the symbols.
const ICONS = {
  play: 'M5 3l9 6-9 6z', pause: 'M5 3h3v12H5zM11 3h3v12h-3z', cross: 'M8.2 2h1.6v5h-1.6zM8.2 11h1.6v5h-1.6zM2 8.2h5v1.6H2zM11 8.2h5v1.6h-5z',
  tiles: 'M2 2h14v14H2zM3.5 3.5v4.8h4.8V3.5zM9.7 3.5v4.8h4.8V3.5zM3.5 9.7v4.8h4.8V9.7zM9.7 9.7v4.8h4.8V9.7z',
  overlay: 'M9 1.5C6.4 5 4 8 4 11a5 5 0 0 0 10 0c0-3-2.4-6-5-9.5zM9 4.6V14.4A3.4 3.4 0 0 1 5.6 11C5.6 9.2 7 7.2 9 4.6z',
  field: 'M2 2h14v14H2zM3.5 3.5v11h11v-11zM9 5.4a3.6 3.6 0 1 1 0 7.2 3.6 3.6 0 0 1 0-7.2z',
  save: 'M8.2 2h1.6v6.2l2.3-2.3 1.1 1.1L9 11.3 4.8 7l1.1-1.1 2.3 2.3zM2 11h1.6v3.4h10.8V11H16v5H2z',
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

// The length 1, 2 or 5, 10, ... closest to this one [mm].
function roundLength(want) {
  const decade = 10 ** Math.floor(Math.log10(want)), lengths = [1, 2, 5, 10].map((n) => n * decade);
  return lengths.reduce((best, l) => (Math.abs(l - want) < Math.abs(best - want) ? l : best));
}

// A length in a unit that keeps the number short.
function lengthLabel(mm) {
  const [factor, unit] = mm >= 1000 ? [1e-3, 'm'] : mm >= 10 ? [0.1, 'cm'] : mm >= 0.1 ? [1, 'mm'] : mm >= 1e-4 ? [1e3, 'µm'] : [1e6, 'nm'];
  return `${+(mm * factor).toPrecision(2)} ${unit}`;
}

// A position [mm] with as many decimals as a voxel of this size needs.
function fixed(mm, voxel) {
  const decimals = Math.min(20, Math.max(0, Math.ceil(-Math.log10(voxel))));
  return (+mm.toFixed(decimals)).toFixed(decimals); // -0 becomes 0
}
