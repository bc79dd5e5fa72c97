// Volume rendering without WebGL2: the same rays with fewer pixels and samples, for still pictures.

class RayCaster {
  constructor() { this.canvas = document.createElement('canvas'); this.isSoftware = true; this.isLost = false; }

  render({ volume, shape, blocks, outside }, { preset, stops, view, steps }, width, height) {
    const { canvas } = this, { inside: masked, edges, steep, shine } = PRESETS[preset], context = canvas.getContext('2d');
    Object.assign(canvas, { width, height });
    const image = context.createImageData(width, height), [nz, ny, nx] = shape, { low, high, entries } = transferTable(stops);
    const visible = visibleBlocks(blocks, stops), [, by, bx] = blocks.shape, stride = [1, nx, nx * ny], n = [nx, ny, nz], { size, eye, axes } = view;
    const light = normal([0, 1, 2].map((k) => axes.back[k] + 0.45 * axes.up[k] - 0.35 * axes.across[k])), length = view.step * steps;
    const cell = masked ? (x, y, z) => outside.outside[((z / outside.size | 0) * outside.shape[1] + (y / outside.size | 0)) * outside.shape[2] + (x / outside.size | 0)] : () => 0;
    const o = [0, 1, 2].map((k) => (eye[k] - view.low[k]) / size[k] * n[k]); // in voxels from here on
    for (let j = 0; j < height; j++) {
      for (let i = 0; i < width; i++) {
        const [u, v] = [2 * (i + 0.5) / width - 1, 1 - 2 * (j + 0.5) / height];
        const ray = normal([0, 1, 2].map((k) => u * view.across[k] + v * view.up[k] - eye[k])), d = ray.map((r, k) => r / size[k] * n[k] || 1e-9);
        let t = 0, end = Infinity;
        for (let k = 0; k < 3; k++) {
          const [a, b] = [-o[k] / d[k], (n[k] - o[k]) / d[k]];
          t = Math.max(t, Math.min(a, b)); end = Math.min(end, Math.max(a, b));
        }
        t += length * ((52.9829189 * ((0.06711056 * i + 0.00583715 * j) % 1)) % 1);
        let [red, green, blue, alpha] = [0, 0, 0, 0];
        while (t < end && alpha < 0.98) {
          const x = o[0] + t * d[0], y = o[1] + t * d[1], z = o[2] + t * d[2], [bi, bj, bk] = [x / BLOCK | 0, y / BLOCK | 0, z / BLOCK | 0];
          if (!visible[(bk * by + bj) * bx + bi]) {
            let exit = Infinity;
            [bi, bj, bk].forEach((b, k) => { exit = Math.min(exit, ((b + (d[k] > 0)) * BLOCK - o[k]) / d[k]); });
            t += length * Math.max(1, Math.ceil((exit - t) / length));
            continue;
          }
          const xi = Math.min(nx - 1, x | 0), yi = Math.min(ny - 1, y | 0), zi = Math.min(nz - 1, z | 0), s = (zi * ny + yi) * nx + xi;
          const q = 4 * Math.round(clamp((volume[s] - low) / (high - low), 0, 1) * (TABLE - 1));
          let opacity = entries[q + 3];
          if (opacity > 0 && !cell(xi, yi, zi)) {
            let [edge, lit, glance] = [0, 0.85, 0];
            if (opacity > FAINT) {
              const m = [xi, yi, zi].map((p, k) => {
                const [before, after] = [p > 0 ? 1 : 0, p < n[k] - 1 ? 1 : 0];
                return (volume[s - before * stride[k]] - volume[s + after * stride[k]]) / 1000 / Math.max(1, before + after) * n[k] / size[k];
              });
              const strength = Math.max(1e-6, Math.hypot(...m)), side = (dot(m, ray) > 0 ? -1 : 1) / strength;
              edge = clamp(strength / (steep * LENGTHS), 0, 1);
              lit = 0.85 * (1 - edge) + edge * (0.42 + 0.74 * Math.max(0, side * dot(m, light)));
              glance = edge * shine * Math.max(0, side * dot(m, normal(light.map((c, k) => c - ray[k])))) ** 24;
            }
            opacity = 1 - Math.exp(-LENGTHS * opacity * (1 - edges + edges * edge) * length);
            const fade = 1 - 0.32 * clamp((t - DISTANCE + 1) / 2, 0, 1), w = (1 - alpha) * opacity * fade;
            red += w * (entries[q] * lit + glance); green += w * (entries[q + 1] * lit + glance); blue += w * (entries[q + 2] * lit + glance);
            alpha += (1 - alpha) * opacity;
          }
          t += length;
        }
        if (alpha > 0) image.data.set([red, green, blue, 1].map((c, k) => 255 * (k < 3 ? c / alpha : alpha)), 4 * (j * width + i));
      }
    }
    context.putImageData(image, 0, 0);
    return canvas;
  }
}

const dot = (a, b) => a[0] * b[0] + a[1] * b[1] + a[2] * b[2];
const normal = (v) => { const length = Math.hypot(...v) || 1; return v.map((c) => c / length); };
