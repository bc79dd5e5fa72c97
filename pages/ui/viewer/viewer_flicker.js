// Layout that alternates a volume and the reference in one place, which makes differences visible.

const FLICKER_MS = 500; // two changes per second: three or more can be harmful

class Flicker {
  constructor(viewer) {
    this.viewer = viewer;
    this.second = false; // whether the reference is shown
    this.timer = 0;
    const still = matchMedia('(prefers-reduced-motion: reduce)');
    this.still = still.matches;
    this.paused = this.still;
    still.addEventListener('change', () => { this.still = this.paused = still.matches; this.update(); });
  }

  /** Run while the layout is active and not paused. */
  update() {
    const on = this.viewer.layout === 'flicker' && !this.paused;
    if (on && !this.timer) this.timer = setInterval(() => (this.viewer.root.isConnected ? this.swap() : this.stop()), FLICKER_MS);
    else if (!on) this.stop();
  }

  swap() { this.second = !this.second; this.viewer.arrange(); }

  stop() { clearInterval(this.timer); this.timer = 0; }

  /** Pause or continue; with reduced motion, show the other picture. */
  toggle() {
    if (this.still) { this.swap(); return; }
    this.paused = !this.paused;
    this.viewer.arrange();
  }
}
