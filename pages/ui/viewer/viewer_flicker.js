// The layout that alternates a volume and the reference in one place: the eye finds what differs.

const FLICKER_MS = 500; // below three changes a second, which nobody's eyes should have to bear

class Flicker {
  constructor(viewer) {
    this.viewer = viewer;
    this.second = false; // whether the reference is shown
    this.timer = 0;
    const still = matchMedia('(prefers-reduced-motion: reduce)');
    this.still = still.matches;
    this.paused = this.still;
    still.addEventListener('change', () => { this.still = this.paused = still.matches; this.tend(); });
  }

  /** Runs while its layout is chosen, unless it was paused. */
  tend() {
    const on = this.viewer.layout === 'flicker' && !this.paused;
    if (on && !this.timer) this.timer = setInterval(() => (this.viewer.root.isConnected ? this.swap() : this.stop()), FLICKER_MS);
    else if (!on) this.stop();
  }

  swap() { this.second = !this.second; this.viewer.arrange(); }

  stop() { clearInterval(this.timer); this.timer = 0; }

  /** Pause or go on; for who wants no motion, the other picture. */
  toggle() {
    if (this.still) { this.swap(); return; }
    this.paused = !this.paused;
    this.viewer.arrange();
  }
}
