// Frequency plane (fx, fy) of the middle slice: the lines that the views measure, and the missing wedge.

function drawFrequencies(sv, { c, w, h, ratio }) {
  const { lines, share, dense, fan } = sv.scan.frequencies, p = sv.scan.views[sv.s.view];
  const R = Math.min(w, h) / 2 - 15 * ratio, X = w / 2, Y = h / 2; // y points down, as in slices
  if (R <= 0) return; // not laid out yet
  const line = (angle, r = R) => { c.moveTo(X - r * Math.cos(angle), Y - r * Math.sin(angle)); c.lineTo(X + r * Math.cos(angle), Y + r * Math.sin(angle)); };
  const bow = (from, to) => { for (const half of [0, Math.PI]) { c.moveTo(X, Y); c.arc(X, Y, R, from + half, to + half); c.closePath(); } };

  c.fillStyle = '#0d151d'; c.beginPath(); c.arc(X, Y, R, 0, 7); c.fill();
  const wide = Math.PI / share.length;
  share.forEach((s, i) => {
    if (s >= 1) return;
    c.fillStyle = `rgba(230, 126, 34, ${(0.12 + 0.55 * (1 - s)).toFixed(3)})`;
    c.beginPath(); bow(i * wide, (i + 1) * wide + 0.002); c.fill();
  });
  c.lineWidth = ratio; c.strokeStyle = `rgba(${PANEL}, ${Math.min(0.8, Math.max(0.16, 24 / lines.length)).toFixed(3)})`;
  c.beginPath(); lines.forEach((angle) => line(angle)); c.stroke();
  const now = Math.atan2(p.across[1], p.across[2]);
  if (fan[1] > fan[0]) { c.fillStyle = `rgba(${RAY}, .28)`; c.beginPath(); bow(now - fan[1], now - fan[0]); c.fill(); }
  c.strokeStyle = `rgba(${RAY}, 1)`; c.lineWidth = 2 * ratio;
  c.beginPath(); line(now); c.stroke();
  c.strokeStyle = 'rgba(160, 176, 192, .7)'; c.lineWidth = ratio;
  c.beginPath(); c.arc(X, Y, R, 0, 7); c.stroke();
  if (dense < 1) {
    c.strokeStyle = 'rgba(255, 255, 255, .95)'; c.lineWidth = 1.3 * ratio; c.setLineDash([4 * ratio, 3 * ratio]);
    c.beginPath(); c.arc(X, Y, Math.max(3 * ratio, R * dense), 0, 7); c.stroke();
    c.setLineDash([]);
  }
  sv.write(c, ratio, 'Frequencies', 8, 7);
  c.fillStyle = 'rgba(255,255,255,.6)'; c.font = `${11 * ratio}px system-ui, sans-serif`;
  c.textAlign = 'left'; c.textBaseline = 'middle';
  c.fillText('fx', X + R + 3 * ratio, Y);
  c.textAlign = 'center'; c.textBaseline = 'top';
  c.fillText('fy', X, Y + R + 2 * ratio);
}
