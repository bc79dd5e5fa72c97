// Shaders of the volume rendering: one ray per pixel, front to back, until it is opaque.

const VERTEX_SHADER = `#version 300 es
in vec2 corner;
out vec2 place;
void main() { place = corner; gl_Position = vec4(corner, 0.0, 1.0); }`;

const FRAGMENT_SHADER = `#version 300 es
precision highp float;
precision highp sampler3D;
uniform sampler3D volume;  // HU / 1000
uniform sampler3D blocks;  // above 0 where something is visible
uniform sampler3D outside; // 1 in the air around the body
uniform sampler2D table;   // colour and opacity
uniform vec3 size, low, voxels;
uniform vec3 blockScale, cellScale; // blocks along each axis, with the last in part; the same for cells, relative to all
uniform vec3 eye, across, up, back;
uniform vec2 range;        // lower end of the table and 1 / length [1000 HU]
uniform float stepLength, perLength, edges, steep, shine, masked;
in vec2 place;
out vec4 colour;

float at(vec3 q) { return texture(volume, q).r; }
vec4 transfer(float v) {
  const float n = ${TABLE}.0;
  return texture(table, vec2((clamp((v - range.x) * range.y, 0.0, 1.0) * (n - 1.0) + 0.5) / n, 0.5));
}
// whether this hides most of what is behind it within one step
bool solid(vec4 c) { return c.a * perLength * stepLength > 0.7; }
// noise without visible structure (Jimenez, Next generation post processing in Call of Duty, 2014)
float jitter() { return fract(52.9829189 * fract(dot(gl_FragCoord.xy, vec2(0.06711056, 0.00583715)))); }

void main() {
  vec3 ray = normalize(place.x * across + place.y * up - eye);
  vec3 o = (eye - low) / size, d = ray / size; // as fractions of the volume
  d = mix(d, vec3(1e-7), lessThan(abs(d), vec3(1e-7)));
  vec3 inverse = 1.0 / d, a = -o * inverse, b = (1.0 - o) * inverse, first = min(a, b), last = max(a, b);
  float t = max(0.0, max(first.x, max(first.y, first.z))), end = min(last.x, min(last.y, last.z));
  t += stepLength * jitter(); // else rings appear, where the samples of neighbouring rays are at equal depths
  vec3 light = normalize(back + 0.45 * normalize(up) - 0.35 * normalize(across));
  vec3 voxel = 1.0 / voxels, spacing = size * voxel;
  float reach = 2.5 * max(spacing.x, max(spacing.y, spacing.z));
  colour = vec4(0.0);
  bool wasSolid = false;
  for (int i = 0; i < 4096 && t < end; i++) {
    vec3 q = o + t * d, block = q * blockScale;
    if (texelFetch(blocks, ivec3(clamp(block, vec3(0.0), blockScale - 1e-4)), 0).r == 0.0) {
      vec3 exits = ((floor(block) + step(0.0, d)) / blockScale - o) * inverse;
      t += stepLength * max(1.0, ceil((min(exits.x, min(exits.y, exits.z)) - t) / stepLength));
      continue;
    }
    vec4 c = transfer(at(q));
    if (solid(c) && !wasSolid) { // the surface is between this sample and the last one
      float inner = t, outer = t - stepLength;
      for (int k = 0; k < 5; k++) {
        float middle = 0.5 * (inner + outer);
        if (solid(transfer(at(o + middle * d)))) inner = middle; else outer = middle;
      }
      t = inner; // the next samples are at the same depths below the surface for all rays
      q = o + t * d;
      c = transfer(at(q));
    }
    wasSolid = solid(c);
    if (c.a > 0.0 && masked > 0.0) c.a *= 1.0 - texture(outside, q * cellScale).r;
    if (c.a > 1e-4) {
      float edge = 0.0, lit = 0.85, glance = 0.0;
      if (c.a > ${FAINT}) {
        vec3 e = voxel;
        vec3 gradient = vec3(at(q + vec3(e.x, 0, 0)) - at(q - vec3(e.x, 0, 0)), at(q + vec3(0, e.y, 0)) - at(q - vec3(0, e.y, 0)),
          at(q + vec3(0, 0, e.z)) - at(q - vec3(0, 0, e.z))) / (2.0 * spacing);
        float strength = length(gradient);
        edge = smoothstep(0.0, steep, strength);
        vec3 n = -gradient / max(strength, 1e-6);
        if (dot(n, ray) > 0.0) n = -n; // both sides of a surface are lit
        glance = pow(max(0.0, dot(n, normalize(light - ray))), 24.0);
        float hollow = 1.0 - exp(-perLength * reach * transfer(at(q + n * reach / size)).a); // something in front: a crevice
        lit = mix(0.85, 0.42 + 0.74 * max(0.0, dot(n, light)), edge) * (1.0 - 0.35 * hollow);
      }
      c.a *= mix(1.0, edge, edges);
      float fade = mix(1.0, 0.68, clamp((t - ${DISTANCE}.0 + 1.0) / 2.0, 0.0, 1.0)); // farther is darker
      float opacity = 1.0 - exp(-perLength * c.a * stepLength);
      colour += (1.0 - colour.a) * opacity * vec4(fade * (c.rgb * lit + shine * glance * edge), 1.0);
      if (colour.a > 0.98) break;
    }
    t += stepLength;
  }
}`;
