// Presets of the volume rendering: opacity and colour by HU.

const LENGTHS = 50; // of which each has the opacity of a stop, in half the extent of the object
const TABLE = 512; // entries of a table
const FAINT = 0.02; // opacity up to which no gradient is needed: such tissue is a haze

/**
 * Stops are HU, opacity, red, green, blue. The opacity belongs to a hundredth of the object's extent, so that an object
 * of any size looks the same.
 *
 * edges: share of the opacity that needs a gradient, which makes the inside of homogeneous tissue transparent
 * steep: gradient with full opacity and shading [1000 HU per hundredth of the extent]
 * shine: strength of highlights
 * inside: hide the air around the body and its border, which has the HU of lungs
 */
const PRESETS = {
  bone: {
    label: 'Bone', title: 'Bones, and vessels with contrast agent', edges: 0.2, steep: 0.25, shine: 0.28,
    stops: [[120, 0, 150, 60, 44], [190, 0.12, 176, 84, 60], [260, 1, 222, 178, 140], [360, 3.5, 240, 222, 190], [800, 9, 250, 242, 224], [1600, 12, 255, 252, 246]],
  },
  lung: {
    label: 'Lung', title: 'Lungs, airways and vessels in a transparent body', edges: 0.75, steep: 0.3, shine: 0.12, inside: true,
    stops: [[-990, 0, 120, 170, 210], [-920, 0.004, 140, 180, 215], [-760, 0.01, 200, 170, 175], [-640, 0.12, 222, 138, 120], [-450, 0.5, 224, 120, 100],
      [-250, 0.3, 206, 84, 72], [-120, 0.004, 214, 160, 130], [60, 0.006, 220, 170, 140], [160, 0.03, 240, 224, 196], [500, 0.1, 248, 240, 222], [1500, 0.25, 255, 252, 244]],
  },
  soft: {
    label: 'Soft tissue', title: 'Muscles, organs and vessels under transparent fat', edges: 0.35, steep: 0.12, shine: 0.16,
    stops: [[-140, 0, 255, 220, 150], [-90, 0.02, 255, 214, 140], [-20, 0.05, 226, 140, 100], [20, 0.5, 168, 62, 52], [70, 1.4, 186, 78, 62],
      [150, 2.5, 206, 72, 54], [240, 4, 226, 130, 96], [380, 7, 238, 218, 184], [1200, 12, 255, 250, 240]],
  },
  window: { label: 'Window', title: 'Greys of the display window, opaque at its upper end', edges: 0.3, steep: 0.2, shine: 0.15 },
};

/** Return the stops of a preset; those of "window" follow level and width. */
function stopsOf(name, { level, width }) {
  if (PRESETS[name].stops) return PRESETS[name].stops;
  return [0, 0.35, 0.6, 0.8, 1].map((t) => [level + (t - 0.5) * width, 6 * t ** 3, ...Array(3).fill(40 + 205 * t)]);
}

/** Return opacity, red, green and blue (0 to 1) at this HU. */
function transferAt(stops, hu) {
  const k = clamp(stops.findIndex((s) => s[0] > hu), 1, stops.length - 1), a = stops[k - 1], b = hu >= stops.at(-1)[0] ? stops.at(-1) : stops[k];
  const t = b === stops.at(-1) && hu >= b[0] ? 1 : clamp((hu - a[0]) / (b[0] - a[0]), 0, 1), mix = (i) => a[i] + t * (b[i] - a[i]);
  return [mix(1), mix(2) / 255, mix(3) / 255, mix(4) / 255];
}

/** Return the table of a preset: its range of HU, and red, green, blue and opacity of each entry. */
function transferTable(stops) {
  const low = stops[0][0], high = stops.at(-1)[0], entries = new Float32Array(4 * TABLE);
  for (let i = 0; i < TABLE; i++) {
    const [opacity, ...rgb] = transferAt(stops, low + i / (TABLE - 1) * (high - low));
    entries.set([...rgb, opacity], 4 * i);
  }
  return { low, high, entries };
}
