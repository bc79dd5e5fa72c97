// Replay: a slider through the steps of a run, which the browser holds already.

const FRAME_MS = 320;

class Replay {
  constructor(viewer) {
    this.viewer = viewer;
    this.root = make('div', { class: 'replay' });
    this.timer = 0;
  }

  /** Show another scene at the current step, or at the last step of another run. */
  show(scene, view) {
    this.frames = scene.frames;
    if (!this.frames.length) return;
    if (view.replayed !== scene.key) view.frame = Infinity; // another run
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
    this.title = make('span', { class: 'title' });
    this.root.append(this.button, this.slider, this.title);
    this.set(this.viewer.view.frame);
  }

  /** Show the volumes of this step; missing ones are pending. */
  set(k) {
    const { scene, view } = this.viewer, frame = this.frames[k];
    view.frame = k;
    scene.air ||= new Int16Array(scene.shape[0] * scene.shape[1] * scene.shape[2]).fill(-1000);
    scene.volumes = frame.indices.map((i) => (i < 0 ? scene.air : scene.all[i]));
    scene.notes = frame.indices.map((i) => (i < 0 ? 'not at this step' : ''));
    scene.pending = frame.indices.map((i) => i < 0);
    scene.tiles = frame.tiles;
    if (!this.slider) return;
    this.slider.value = k;
    this.title.textContent = frame.title;
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
