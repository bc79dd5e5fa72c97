// The replay: a slider through the moments of a run, all of which are in the browser already.

const FRAME_MS = 320;

class Replay {
  constructor(viewer) {
    this.viewer = viewer;
    this.root = make('div', { class: 'replay' });
    this.timer = 0;
  }

  /** Another scene: it begins where the person was, or at its last moment. */
  show(scene, view) {
    this.frames = scene.frames;
    if (!this.frames.length) return;
    if (view.replayed !== scene.key) view.frame = Infinity; // of another run
    view.replayed = scene.key;
    this.set(Math.min(view.frame, this.frames.length - 1));
  }

  build() {
    this.root.replaceChildren();
    this.slider = null;
    if (!this.frames.length) return;
    const label = 'Replay the run';
    this.button = make('button', { type: 'button', class: 'icon', title: label, 'aria-label': label, onclick: () => (this.timer ? this.stop() : this.run()) });
    icon(this.button, 'play');
    this.slider = make('input', { type: 'range', min: 0, max: this.frames.length - 1, step: 1, 'aria-label': 'Replay', oninput: () => this.go(Number(this.slider.value)) });
    this.told = make('span', { class: 'told' });
    this.root.append(this.button, this.slider, this.told);
    this.set(this.viewer.view.frame);
  }

  /** The scene shows this moment's volumes; air where it has none yet. */
  set(k) {
    const { scene, view } = this.viewer, frame = this.frames[k];
    view.frame = k;
    scene.air ||= new Int16Array(scene.shape[0] * scene.shape[1] * scene.shape[2]).fill(-1000);
    scene.volumes = frame.at.map((i) => (i < 0 ? scene.air : scene.all[i]));
    scene.notes = frame.at.map((i) => (i < 0 ? 'not at this step' : ''));
    scene.pending = frame.at.map((i) => i < 0);
    scene.tiles = frame.tiles;
    if (!this.slider) return;
    this.slider.value = k;
    this.told.textContent = frame.title;
  }

  go(k) { this.set(k); this.viewer.arrange(); }

  run() {
    icon(this.button, 'pause');
    if (this.viewer.view.frame >= this.frames.length - 1) this.go(0);
    this.timer = setInterval(() => {
      const next = this.viewer.view.frame + 1;
      if (this.root.isConnected && next < this.frames.length) this.go(next);
      else this.stop();
    }, FRAME_MS);
  }

  stop() {
    clearInterval(this.timer);
    this.timer = 0;
    icon(this.button, 'play');
  }
}
