// The Retarget tab's own parts: what is cut out of a clip (faces to choose, a box to draw), and the live camera.
// Runs after hub.js; crop and camera share window.vidgen.retarget.
const vidgen = window.vidgen;
const { t, icon, make } = vidgen;
const shared = (vidgen.retarget = { model: null, blend: 0, consent: false });

const load = (src) => new Promise((done, fail) => {
  const image = new Image();
  Object.assign(image, { onload: () => done(image), onerror: fail, src });
});
const tint = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const square = (paper, [x, y, side], colour, dashes = []) => { // in light and dark pictures alike
  for (const [width, style] of [[5, 'rgb(0 0 0 / 65%)'], [2.5, colour]]) {
    paper.setLineDash(dashes);
    Object.assign(paper, { lineWidth: width, strokeStyle: style });
    paper.strokeRect(x, y, side, side);
  }
  paper.setLineDash([]);
};

// ---- what is cut out
vidgen.mountCrop = (element) => {
  const root = element.querySelector('.vg-crop');
  const $ = (name) => root.querySelector(`.vg-crop-${name}`);
  const view = $('view'), sees = $('sees').querySelector('canvas');
  const paper = view.getContext('2d');
  const MODES = ['auto', 'box', 'none'], SIDES = ['x', 'y', 'side'], PANELS = ['source', 'result', 'cycle', 'residual'];
  const state = { mode: 'auto', face: 0, box: null };
  let look = null, image = null, held = null;

  const buttons = Object.fromEntries(MODES.map((mode) =>
    [mode, make('button', { type: 'button', textContent: t(`crop_${mode}`), onclick: () => choose({ mode }) })]));
  root.querySelector('.vg-modes').append(...Object.values(buttons));
  root.querySelector('.vg-modes').setAttribute('aria-label', t('crop'));
  $('faces').setAttribute('aria-label', t('choose_face'));
  $('sees').querySelector('figcaption').textContent = t('model_sees');
  sees.setAttribute('aria-label', t('model_sees'));
  const numbers = SIDES.map((name, i) => make('input', { type: 'number', step: 1, name: `box_${name}`,
    oninput: (event) => {
      const value = Number(event.target.value);
      if (!Number.isFinite(value) || (i === 2 && value < 8)) return;
      choose({ box: state.box.map((old, j) => (i === j ? value : old)) });
    } }));
  $('numbers').append(...SIDES.map((name, i) => make('label', {}, t(`box_${name}`), numbers[i])));

  const middle = () => {
    const side = Math.min(look.width, look.height);
    return [(look.width - side) / 2, (look.height - side) / 2, side];
  };
  const cut = () => ({ auto: look.crops[state.face], box: state.box, none: middle() })[state.mode];

  const draw = () => {
    const scale = view.width / look.width;
    const onView = (box) => box.map((value) => value * scale);
    paper.drawImage(image, 0, 0, view.width, view.height);
    const chosen = cut();
    if (chosen) { // what stays out is dimmed
      paper.save();
      const outside = new Path2D();
      outside.rect(0, 0, view.width, view.height);
      const [x, y, side] = onView(chosen);
      outside.rect(x, y, side, side);
      paper.fillStyle = 'rgb(0 0 0 / 45%)';
      paper.fill(outside, 'evenodd');
      paper.restore();
      square(paper, [x, y, side], tint('--vg-on-picture'));
    }
    if (state.mode === 'auto') look.crops.forEach((box, i) => {
      const [x, y, side] = onView(box), colour = i === state.face ? tint('--vg-on-picture') : '#cbd5e1';
      if (i !== state.face) square(paper, [x, y, side], colour, [7, 5]);
      const [left, top] = [Math.max(x, 0), Math.max(y, 0)];
      paper.fillStyle = colour;
      paper.fillRect(left, top, 26, 26);
      Object.assign(paper, { fillStyle: '#0b1120', font: '700 17px system-ui, sans-serif', textAlign: 'center', textBaseline: 'middle' });
      paper.fillText(i + 1, left + 13, top + 14);
    });
    if (chosen) cutOut(chosen.map((value) => (value * image.width) / look.width));
  };
  // Beyond the picture its edge is repeated, as the model gets it.
  const cutOut = ([x, y, side]) => {
    const spans = (start, end) => [[0, 1, start, Math.min(0, start + side)], [Math.max(start, 0), null, Math.max(start, 0), Math.min(start + side, end)],
      [end - 1, 1, Math.max(end, start), start + side]].filter(([, , from, to]) => to > from).map(([at, span, from, to]) =>
      [at, span ?? to - from, ((from - start) / side) * 128, ((to - from) / side) * 128]);
    for (const [left, width, toX, wide] of spans(x, image.width)) {
      for (const [top, height, toY, high] of spans(y, image.height)) {
        sees.getContext('2d').drawImage(image, left, top, width, height, toX, toY, wide, high);
      }
    }
  };

  const choose = (change) => {
    Object.assign(state, change);
    if (state.mode === 'box') state.box ??= [...(look.crops[state.face] || middle())].map(Math.round);
    MODES.forEach((mode) => buttons[mode].setAttribute('aria-pressed', mode === state.mode));
    buttons.auto.disabled = !look.crops.length;
    $('faces').hidden = state.mode !== 'auto' || look.crops.length < 2;
    $('faces').replaceChildren(...look.crops.map((_, face) => {
      const chip = make('button', { type: 'button', textContent: t('face_n', { n: face + 1 }), onclick: () => choose({ face }) });
      chip.setAttribute('aria-pressed', face === state.face);
      return chip;
    }));
    $('numbers').hidden = state.mode !== 'box';
    if (state.box) numbers.forEach((input, i) => { if (input !== document.activeElement) input.value = Math.round(state.box[i]); });
    root.querySelector('.vg-help').textContent = t(look.crops.length || state.mode !== 'box' ? `crop_help_${state.mode}` : 'no_face');
    view.setAttribute('aria-label', t('crop_label', { n: look.crops.length }));
    draw();
  };

  // ---- drawing a box: drag a new one, or the one that is there
  const at = (event) => {
    const frame = view.getBoundingClientRect();
    return [((event.clientX - frame.left) / frame.width) * look.width, ((event.clientY - frame.top) / frame.height) * look.height];
  };
  const within = ([px, py], box) => box && px >= box[0] && px < box[0] + box[2] && py >= box[1] && py < box[1] + box[2];
  view.addEventListener('pointerdown', (event) => {
    view.setPointerCapture(event.pointerId);
    const from = at(event);
    held = { from, box: state.mode === 'box' && within(from, state.box) ? [...state.box] : null, moved: false };
  });
  view.addEventListener('pointermove', (event) => {
    if (!held) return;
    const [x, y] = at(event), [dx, dy] = [x - held.from[0], y - held.from[1]];
    const least = look.width / 40;
    if (!held.moved && Math.hypot(dx, dy) < least) return;
    held.moved = true;
    if (held.box) return choose({ mode: 'box', box: [held.box[0] + dx, held.box[1] + dy, held.box[2]].map(Math.round) });
    const side = Math.max(Math.abs(dx), Math.abs(dy), least);
    choose({ mode: 'box', box: [dx < 0 ? held.from[0] - side : held.from[0], dy < 0 ? held.from[1] - side : held.from[1], side].map(Math.round) });
  });
  view.addEventListener('pointerup', (event) => {
    const spot = at(event);
    const inside = look.crops.map((box, i) => [box[2], i]).filter(([, i]) => within(spot, look.crops[i])).sort((a, b) => a[0] - b[0]);
    const face = held && !held.moved && inside.length ? inside[0][1] : -1;
    held = null;
    if (face >= 0) choose({ mode: 'auto', face });
  });
  view.addEventListener('pointercancel', () => { held = null; });
  view.addEventListener('keydown', (event) => {
    const digit = Number(event.key);
    const step = Math.max(1, Math.round(look.width / (event.shiftKey ? 20 : 100)));
    const move = { ArrowRight: [step, 0, 0], ArrowLeft: [-step, 0, 0], ArrowDown: [0, step, 0], ArrowUp: [0, -step, 0],
      '+': [-step, -step, 2 * step], '-': [step, step, -2 * step] }[event.key];
    if (digit >= 1 && digit <= look.crops.length) choose({ mode: 'auto', face: digit - 1 });
    else if (move) {
      choose({ mode: 'box' });
      const box = state.box.map((value, i) => value + move[i]);
      if (box[2] >= 8) choose({ box });
    } else return;
    event.preventDefault();
  });

  // ---- what the tab asks and tells
  shared.show = async (seen) => {
    look = seen?.src ? seen : null;
    $('note').textContent = seen?.ask ? t('consent_first') : t('crop_empty');
    $('note').hidden = !!look;
    $('body').hidden = !look;
    root.dataset.state = look ? 'ready' : 'empty';
    if (!look) return;
    image = await load(look.src);
    const scale = 640 / Math.max(image.width, image.height); // lines and numbers are as large for any clip
    Object.assign(view, { width: Math.round(image.width * scale), height: Math.round(image.height * scale) });
    view.style.setProperty('--ratio', image.width / image.height);
    Object.assign(state, { mode: look.crops.length ? 'auto' : 'box', face: 0, box: null });
    choose({});
  };
  shared.take = ([video, model, , , blend, whole, panels, ...more]) =>
    [video, model, ...chosen(), blend, whole, PANELS.filter((name) => panels.includes(name)), ...more];
  const chosen = () => {
    if (!look || state.mode === 'auto') return ['auto', state.face + 1];
    if (state.mode === 'none') return ['none', 1];
    const [x, y, side] = state.box.map(Math.round);
    return [`${x},${y},${side},${side}`, 1];
  };
  shared.show(null);

  const nameExamples = (tries) => { // Gradio gives their pictures no names
    const pictures = document.querySelectorAll('#examples .gallery-item');
    pictures.forEach((one, i) => one.setAttribute('aria-label', t('example_n', { n: i + 1 })));
    if (!pictures.length && tries) setTimeout(nameExamples, 250, tries - 1);
  };
  nameExamples(20);
};

// ---- the live camera: one frame in flight, the newest goes next
vidgen.mountLive = (element, server) => {
  const root = element.querySelector('.vg-live');
  const $ = (name) => root.querySelector(`.vg-live-${name}`);
  const into = $('in'), out = $('out'), toggle = $('toggle');
  const camera = String(Math.random()).slice(2);
  const clear = () => { for (const one of [into, out]) one.getContext('2d').clearRect(0, 0, one.width, one.height); };
  let film = null, box = null, times = [];

  $('in').nextElementSibling.textContent = t('live_camera');
  $('out').nextElementSibling.textContent = t('live_result');
  into.setAttribute('aria-label', t('live_camera'));
  out.setAttribute('aria-label', t('live_result'));
  const say = (text, state = 'idle') => { $('note').textContent = text; $('note').dataset.state = state; };
  const label = () => {
    toggle.innerHTML = icon(film ? 'pause' : 'play');
    toggle.append(t(film ? 'live_stop' : 'live_start'));
    toggle.setAttribute('aria-pressed', !!film);
  };

  const stop = (text = t('live_idle'), state = 'idle') => {
    film?.srcObject?.getTracks().forEach((track) => track.stop());
    film = null;
    $('fps').textContent = '';
    clear();
    label();
    say(text, state);
  };
  const start = async () => {
    if (!shared.consent) return say(t('consent_first'), 'error');
    try {
      const stream = await navigator.mediaDevices.getUserMedia({ video: { width: { ideal: 640 }, height: { ideal: 480 } } });
      film = Object.assign(document.createElement('video'), { srcObject: stream, muted: true, playsInline: true });
      await film.play();
    } catch { return stop(t('live_none'), 'error'); }
    [times, box] = [[], null];
    label();
    say(t('live_looking'), 'drawing');
    return run(film);
  };
  const grab = () => { // mirrored, as people know themselves
    into.height = Math.round((into.width * film.videoHeight) / film.videoWidth);
    const paper = into.getContext('2d');
    paper.setTransform(-1, 0, 0, 1, into.width, 0);
    paper.drawImage(film, 0, 0, into.width, into.height);
    paper.setTransform(1, 0, 0, 1, 0, 0);
    const frame = into.toDataURL('image/jpeg', 0.85);
    if (box) square(paper, box, tint('--vg-on-picture')); // of the frame before
    return frame;
  };
  const show = async ({ src, box: found }) => {
    box = found;
    if (src) {
      const image = await load(src);
      Object.assign(out, { width: image.width, height: image.height });
      out.getContext('2d').drawImage(image, 0, 0);
    }
    say(t(src ? 'live_on' : 'live_looking'), src ? 'idle' : 'drawing');
    const now = performance.now();
    times = [...times.filter((time) => now - time < 3000), now];
    if (times.length > 2) {
      const fps = (1000 * (times.length - 1)) / (now - times[0]);
      $('fps').textContent = t('live_fps', { n: fps < 10 ? fps.toFixed(1) : Math.round(fps) });
    }
  };
  const run = async (mine) => {
    while (film === mine) {
      if (!element.offsetParent) return stop(); // another tab is open
      const { model, blend } = shared;
      let answer;
      try { answer = await server.live({ camera, model, blend, frame: grab(), consent: shared.consent }); } catch { answer = null; }
      if (film !== mine) return undefined;
      if (answer?.busy) { say(t('busy'), 'waiting'); await vidgen.sleep(Math.min(Math.max(answer.retry, 0.05), 2)); }
      else if (!answer || answer.error || answer.detail) return stop(answer?.error || t('offline'), 'error');
      else await show(answer);
    }
    return undefined;
  };
  toggle.addEventListener('click', () => (film ? stop() : start()));
  stop();
};

// What the finished film is, in words.
vidgen.retarget.report = (element, report) => {
  const line = element.querySelector('.vg-report');
  line.textContent = report ? [
    t('report_film', { frames: report.frames, fps: Math.round(report.fps * 100) / 100 }),
    t(report.sound ? 'report_sound' : 'report_silent'),
    report.misses ? t('report_misses', { n: report.misses }) : '',
    t('report_speed', { n: Math.round(report.frames_per_second) }),
  ].filter(Boolean).join(' · ') : '';
};
