// Data from the server, as `slice_viewer.pack` writes it: a header, then the voxels of each existing volume.

function unpack(bytes) {
  const start = bytes.byteOffset, length = new DataView(bytes.buffer, start, 4).getUint32(0, true);
  const head = JSON.parse(new TextDecoder().decode(new Uint8Array(bytes.buffer, start + 4, length)));
  const count = head.shape[0] * head.shape[1] * head.shape[2];
  const first = start + 4 + length, copy = first % 2 ? bytes.buffer.slice(first) : bytes.buffer;
  const offset = first % 2 ? 0 : first;
  let stored = 0;
  head.all = Array.from({ length: head.count }, (_, i) => (
    head.pending[i] ? new Int16Array(count).fill(-1000) : new Int16Array(copy, offset + 2 * count * stored++, count)));
  head.volumes = head.all.slice(0, head.names.length);
  return head;
}
