// Volume rendering with WebGL2. One context draws the pictures of all panes, which copy them.

const MOST_TEXTURES = 4; // volumes on the graphics card at a time

class WebglRenderer {
  /** Return a renderer, or null where the browser has no WebGL2. */
  static create() {
    const canvas = document.createElement('canvas');
    const gl = canvas.getContext('webgl2', { alpha: true, antialias: false, depth: false, premultipliedAlpha: true, powerPreference: 'high-performance' });
    return gl ? new WebglRenderer(canvas, gl) : null;
  }

  constructor(canvas, gl) {
    this.canvas = canvas;
    this.gl = gl;
    this.volumes = []; // the last one was used last
    this.tables = new Map();
    const info = gl.getExtension('WEBGL_debug_renderer_info');
    this.name = gl.getParameter(info ? info.UNMASKED_RENDERER_WEBGL : gl.RENDERER);
    this.isSoftware = /swiftshader|llvmpipe|softpipe|software|basic render/i.test(this.name);
    this.isLost = false;
    canvas.addEventListener('webglcontextlost', () => { this.isLost = true; });
    this.program = gl.createProgram();
    for (const [type, text] of [[gl.VERTEX_SHADER, VERTEX_SHADER], [gl.FRAGMENT_SHADER, FRAGMENT_SHADER]]) {
      const shader = gl.createShader(type);
      gl.shaderSource(shader, text);
      gl.compileShader(shader);
      gl.attachShader(this.program, shader);
    }
    gl.bindAttribLocation(this.program, 0, 'corner');
    gl.linkProgram(this.program);
    if (!gl.getProgramParameter(this.program, gl.LINK_STATUS) && !gl.isContextLost()) {
      throw new Error(gl.getAttachedShaders(this.program).map((s) => gl.getShaderInfoLog(s)).join('\n'));
    }
    gl.useProgram(this.program);
    const square = gl.createBuffer();
    gl.bindBuffer(gl.ARRAY_BUFFER, square);
    gl.bufferData(gl.ARRAY_BUFFER, new Float32Array([-1, -1, 1, -1, -1, 1, 1, 1]), gl.STATIC_DRAW);
    gl.enableVertexAttribArray(0);
    gl.vertexAttribPointer(0, 2, gl.FLOAT, false, 0, 0);
    ['volume', 'blocks', 'outside', 'table'].forEach((name, unit) => gl.uniform1i(this.place(name), unit));
  }

  place(name) { return this.gl.getUniformLocation(this.program, name); }

  texture(target, linear, upload) {
    const { gl } = this, texture = gl.createTexture(), filter = linear ? gl.LINEAR : gl.NEAREST;
    gl.bindTexture(target, texture);
    gl.pixelStorei(gl.UNPACK_ALIGNMENT, 1);
    for (const side of [gl.TEXTURE_WRAP_S, gl.TEXTURE_WRAP_T, gl.TEXTURE_WRAP_R]) gl.texParameteri(target, side, gl.CLAMP_TO_EDGE);
    gl.texParameteri(target, gl.TEXTURE_MIN_FILTER, filter);
    gl.texParameteri(target, gl.TEXTURE_MAG_FILTER, filter);
    upload();
    return texture;
  }

  bytes([nz, ny, nx], values, linear) {
    const { gl } = this;
    return this.texture(gl.TEXTURE_3D, linear, () => gl.texImage3D(gl.TEXTURE_3D, 0, gl.R8, nx, ny, nz, 0, gl.RED, gl.UNSIGNED_BYTE, values));
  }

  /** Return the textures of a prepared volume; those not used for longest are deleted. */
  loaded(prepared, masked) {
    const { gl } = this;
    let entry = this.volumes.find((e) => e.prepared === prepared);
    if (!entry) {
      const most = gl.getParameter(gl.MAX_3D_TEXTURE_SIZE), stride = Math.ceil(Math.max(...prepared.shape) / most);
      const { shape: [nz, ny, nx], halves: voxels } = packHalves(prepared.volume, prepared.shape, stride);
      entry = { prepared, blocks: new Map() };
      entry.volume = this.texture(gl.TEXTURE_3D, true, () => gl.texImage3D(gl.TEXTURE_3D, 0, gl.R16F, nx, ny, nz, 0, gl.RED, gl.HALF_FLOAT, voxels));
      entry.voxels = [nx, ny, nz];
    }
    this.volumes = [...this.volumes.filter((e) => e !== entry), entry];
    while (this.volumes.length > MOST_TEXTURES) {
      const old = this.volumes.shift();
      [old.volume, old.outside, old.visible].forEach((t) => gl.deleteTexture(t || null));
    }
    if (masked && !entry.outside) entry.outside = this.bytes(prepared.outside.shape, prepared.outside.outside, true);
    return entry;
  }

  /** Draw into `canvas`, of this size in pixels; the picture must be copied at once. */
  render(prepared, { preset, stops, view, steps }, width, height) {
    const { gl } = this, { inside: masked, edges, steep, shine } = PRESETS[preset], entry = this.loaded(prepared, masked), key = JSON.stringify(stops);
    if (entry.key !== key) {
      gl.deleteTexture(entry.visible || null);
      entry.visible = this.bytes(prepared.blocks.shape, visibleBlocks(prepared.blocks, stops), false);
      entry.key = key;
    }
    if (this.tableKey !== key) {
      gl.deleteTexture(this.table || null);
      this.scale = transferTable(stops);
      const entries = Uint16Array.from(this.scale.entries, halfBits);
      this.table = this.texture(gl.TEXTURE_2D, true, () => gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA16F, TABLE, 1, 0, gl.RGBA, gl.HALF_FLOAT, entries));
      this.tableKey = key;
    }
    if (this.canvas.width !== width || this.canvas.height !== height) Object.assign(this.canvas, { width, height });
    const xyz = [2, 1, 0], { low, high } = this.scale, cells = masked ? prepared.outside : null;
    const vectors = {
      size: view.size, low: view.low, voxels: entry.voxels, blockScale: xyz.map((a) => prepared.shape[a] / BLOCK), eye: view.eye, across: view.across,
      up: view.up, back: view.axes.back, cellScale: xyz.map((a) => (cells ? prepared.shape[a] / (cells.size * cells.shape[a]) : 1)),
    };
    const numbers = { stepLength: view.step * steps, perLength: LENGTHS, edges, steep: steep * LENGTHS, shine, masked: masked ? 1 : 0 };
    for (const [name, v] of Object.entries(vectors)) gl.uniform3fv(this.place(name), v);
    for (const [name, v] of Object.entries(numbers)) gl.uniform1f(this.place(name), v);
    gl.uniform2f(this.place('range'), low / 1000, 1000 / (high - low));
    [entry.volume, entry.visible, entry.outside || entry.visible].forEach((texture, unit) => {
      gl.activeTexture(gl.TEXTURE0 + unit);
      gl.bindTexture(gl.TEXTURE_3D, texture);
    });
    gl.activeTexture(gl.TEXTURE3);
    gl.bindTexture(gl.TEXTURE_2D, this.table);
    gl.viewport(0, 0, width, height);
    gl.drawArrays(gl.TRIANGLE_STRIP, 0, 4);
    return this.canvas;
  }
}
