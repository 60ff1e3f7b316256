// The stage: one clip on a canvas, its transport, filmstrip, motion path and meters. Runs after hub.js.

vidgen.ICONS = {
  play: '<path d="M7 4v16l13-8z"/>',
  pause: '<path d="M6 4h4v16H6zM14 4h4v16h-4z"/>',
  back: '<path d="M6 4h3v16H6zM20 4v16L9 12z"/>',
  next: '<path d="M15 4h3v16h-3zM4 4v16l11-8z"/>',
  dice: '<path fill-rule="evenodd" d="M5 3h14a2 2 0 0 1 2 2v14a2 2 0 0 1-2 2H5a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2zm3 3a2 2 0 1 0 0 4 2 2 0 0 0 0-4zm8 0a2 2 0 1 0 0 4 2 2 0 0 0 0-4zm-8 8a2 2 0 1 0 0 4 2 2 0 0 0 0-4zm8 0a2 2 0 1 0 0 4 2 2 0 0 0 0-4z"/>',
  locked: '<path d="M7 10V8a5 5 0 0 1 10 0v2h1a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2zm2.5 0h5V8a2.5 2.5 0 0 0-5 0z"/>',
  unlocked: '<path d="M7 10V7a5 5 0 0 1 9.6-2l-2.3 1A2.5 2.5 0 0 0 9.500 7v3H18a2 2 0 0 1 2 2v7a2 2 0 0 1-2 2H6a2 2 0 0 1-2-2v-7a2 2 0 0 1 2-2z"/>',
  pin: '<path d="M9 3h6l-1 7 4 3v2h-5v6l-1 1-1-1v-6H6v-2l4-3z"/>',
  close: '<path d="M6.400 5 12 10.600 17.600 5 19 6.400 13.400 12 19 17.600 17.600 19 12 13.400 6.400 19 5 17.600 10.600 12 5 6.400z"/>',
};
vidgen.icon = (name) => `<svg viewBox="0 0 24 24" width="16" height="16" fill="currentColor" aria-hidden="true">${vidgen.ICONS[name]}</svg>`;

vidgen.picture = async (src) => {
  const image = new Image();
  image.src = src;
  await image.decode();
  return image;
};

// Enlarged, pixel art keeps its edges; anything else is smoothed.
vidgen.edges = (canvas, ...models) =>
  canvas.classList.toggle('vg-pixels', models.every((model) => vidgen.models[model]?.pixel_art));

// Time for everything that moves: a position in frames, kept over a change of the clip.
vidgen.Clock = class {
  constructor(onFrame) {
    Object.assign(this, { onFrame, frames: 1, fps: 12, position: 0, frame: -1, last: null });
    const calm = matchMedia('(prefers-reduced-motion: reduce)');
    this.playing = !calm.matches;
    calm.addEventListener('change', (event) => { if (event.matches) this.playing = false; this.onFrame(this.frame); });
    const tick = (now) => {
      if (this.playing && this.last !== null) this.advance(((now - this.last) / 1000) * this.fps);
      this.last = now;
      requestAnimationFrame(tick);
    };
    requestAnimationFrame(tick);
  }

  advance(frames) { this.go(this.position + frames); }

  go(position, force = false) {
    this.position = ((position % this.frames) + this.frames) % this.frames;
    const frame = Math.min(Math.floor(this.position + 1e-6), this.frames - 1);
    if (frame !== this.frame || force) { this.frame = frame; this.onFrame(frame); }
  }

  step(frames) { this.playing = false; this.go(this.frame + frames, true); }

  load(frames, fps) { Object.assign(this, { frames, fps }); this.go(this.position, true); }
};

// A row of back, play, next, scrubber and count, and the clock that it drives; draw(frame) shows a frame.
vidgen.transport = (root, draw) => {
  const { t, icon } = vidgen;
  const $ = (name) => root.querySelector(`.vg-${name}`);
  const clock = new vidgen.Clock((frame) => {
    $('play').innerHTML = icon(clock.playing ? 'pause' : 'play');
    $('play').setAttribute('aria-label', t(clock.playing ? 'pause' : 'play'));
    if (frame < 0 || !draw(frame)) return;
    $('scrub').max = clock.frames - 1;
    $('scrub').value = frame;
    $('scrub').setAttribute('aria-valuetext', t('frame_of', { frame: frame + 1, frames: clock.frames }));
    $('count').textContent = `${frame + 1} / ${clock.frames}`;
  });
  const act = { play: () => { clock.playing = !clock.playing; clock.go(clock.position, true); },
    back: () => clock.step(-1), next: () => clock.step(1) };
  for (const [name, work] of Object.entries(act)) {
    if (name !== 'play') { $(name).innerHTML = icon(name); $(name).setAttribute('aria-label', t(name)); }
    $(name).onclick = work;
  }
  $('scrub').setAttribute('aria-label', t('frame'));
  $('scrub').oninput = () => { clock.playing = false; clock.go(Number($('scrub').value), true); };
  return clock;
};

vidgen.mountStage = (element, props, server, trigger) => {
  vidgen.setUp(props);
  const $ = (name) => element.querySelector(`.vg-${name}`);
  const screen = $('screen'), film = $('film'), plot = $('path'), scrub = $('scrub'), status = $('status');
  const paper = screen.getContext('2d');
  let sheet = null, clip = null, path = null, spread = {}, wanted = null;

  const colour = (name) => getComputedStyle(element).getPropertyValue(name).trim();
  const sharp = (canvas) => { // as many pixels as the display has
    const box = canvas.getBoundingClientRect(), ratio = window.devicePixelRatio || 1;
    const width = Math.max(1, Math.round(box.width * ratio)), height = Math.max(1, Math.round(box.height * ratio));
    if (canvas.width !== width || canvas.height !== height) Object.assign(canvas, { width, height });
    return canvas.getContext('2d');
  };

  const drawFilm = (frame) => {
    const ink = sharp(film), { width, height } = film;
    const each = (height * clip.width) / clip.height, count = Math.max(2, Math.min(clip.frames, Math.floor(width / each)));
    ink.clearRect(0, 0, width, height);
    ink.imageSmoothingEnabled = true;
    for (let i = 0; i < count; i += 1) {
      const shown = Math.round((i * (clip.frames - 1)) / (count - 1));
      ink.drawImage(sheet, 0, shown * clip.height, clip.width, clip.height, (i * width) / count, 0, each, height);
    }
    ink.fillStyle = colour('--vg-motion');
    const x = (frame / Math.max(1, clip.frames - 1)) * width;
    ink.fillRect(Math.min(Math.max(0, x - 2), width - 4), 0, 4, height);
  };

  const drawPath = (frame) => {
    const ink = sharp(plot), { width, height } = plot;
    ink.clearRect(0, 0, width, height);
    if (!path || path.length < 2) return;
    const reach = spread[wanted?.model] || 1, margin = 14 * (window.devicePixelRatio || 1);
    const scale = (Math.min(width, height) / 2 - margin) / reach;
    const at = ([x, y]) => [width / 2 + x * scale * Math.min(1.6, width / height), height / 2 - y * scale];
    ink.lineWidth = 2 * (window.devicePixelRatio || 1);
    ink.lineJoin = 'round';
    ink.strokeStyle = colour('--vg-motion');
    ink.globalAlpha = 0.85;
    ink.beginPath();
    path.forEach((point, i) => (i ? ink.lineTo(...at(point)) : ink.moveTo(...at(point))));
    ink.stroke();
    ink.globalAlpha = 1;
    const dot = (point, size, fill) => { ink.fillStyle = fill; ink.beginPath(); ink.arc(...at(point), size, 0, 7); ink.fill(); };
    path.forEach((point) => dot(point, ink.lineWidth * 0.9, colour('--vg-motion')));
    dot(path[Math.min(frame, path.length - 1)], ink.lineWidth * 3.5, colour('--vg-content'));
  };

  const clock = (vidgen.clock = new vidgen.Clock((frame) => {
    $('play').innerHTML = vidgen.icon(clock?.playing ? 'pause' : 'play');
    $('play').setAttribute('aria-label', vidgen.t(clock?.playing ? 'pause' : 'play'));
    if (!clip || frame < 0) return;
    paper.drawImage(sheet, 0, frame * clip.height, clip.width, clip.height, 0, 0, clip.width, clip.height);
    scrub.value = frame;
    scrub.setAttribute('aria-valuetext', vidgen.t('frame_of', { frame: frame + 1, frames: clip.frames }));
    $('count').textContent = `${frame + 1} / ${clip.frames}`;
    drawFilm(frame);
    drawPath(frame);
  }));

  let sayTimer = 0;
  const say = (state, text = '') => {
    clearTimeout(sayTimer);
    const put = () => {
      status.dataset.state = state;
      status.textContent = text || vidgen.t(state);
      element.querySelector('.vg-stage').setAttribute('aria-busy', String(state === 'drawing' || state === 'waiting'));
    };
    if (state === 'drawing') sayTimer = setTimeout(put, 250); // shorter waits would only flicker
    else put();
  };

  const describe = (recipe) => vidgen.t('clip_label', { content: recipe.content_seed, motion: recipe.motion_seed });
  const live = new vidgen.Live(
    (recipe) => server.preview({ recipes: [recipe] }),
    async (answer, recipe) => {
      sheet = await vidgen.picture(answer.src);
      if (!clip || clip.width !== answer.width || clip.height !== answer.height) {
        Object.assign(screen, { width: answer.width, height: answer.height });
      }
      clip = answer;
      vidgen.edges(screen, recipe.model);
      scrub.max = answer.frames - 1;
      screen.setAttribute('aria-label', describe(recipe));
      clock.load(answer.frames, answer.fps);
      vidgen.shown = { recipe, at: performance.now(), count: (vidgen.shown?.count || 0) + 1 };
      detailsSoon();
    },
    say,
  );

  const details = new vidgen.Live((recipe) => server.details({ recipe }), (answer, recipe) => {
    path = answer.path;
    const reach = Math.max(...path.flat().map(Math.abs), 1e-6) * 1.05;
    spread[recipe.model] = Math.max(spread[recipe.model] || 0, reach);
    for (const [name, value] of Object.entries(answer.meters)) {
      const row = element.querySelector(`[data-meter="${name}"]`);
      if (!row) continue;
      row.querySelector('dd').textContent = value < 1 ? value.toFixed(3) : value.toFixed(1);
      row.style.setProperty('--share', Math.min(1, value / Number(row.dataset.full)));
    }
    if (clip) drawPath(clock.frame);
  });
  let detailsTimer = 0;
  const detailsSoon = () => { // when the hand rests
    clearTimeout(detailsTimer);
    detailsTimer = setTimeout(() => (live.running ? detailsSoon() : details.request(wanted)), 140);
  };

  // ---- what a blend or a splice adds to the recipe, each with a way to drop it
  const chips = () => {
    const { content_to: c, content_mix: cm, motion_to: m, motion_mix: mm, splice_seed: s, splice_at: at } = vidgen.recipe;
    const wish = [
      c !== null && [vidgen.t('chip_content', { seed: c, share: Math.round(cm * 100) }), { content_to: null, content_mix: 0 }],
      m !== null && [vidgen.t('chip_motion', { seed: m, share: Math.round(mm * 100) }), { motion_to: null, motion_mix: 0 }],
      s !== null && [vidgen.t('chip_splice', { seed: s, frame: at }), { splice_seed: null, splice_at: 0 }],
    ].filter(Boolean);
    $('chips').replaceChildren(...wish.map(([text, without]) => {
      const chip = document.createElement('button');
      chip.innerHTML = vidgen.icon('close');
      chip.prepend(text);
      chip.setAttribute('aria-label', `${vidgen.t('remove')}: ${text}`);
      chip.onclick = () => vidgen.adopt({ ...vidgen.recipe, ...without });
      return chip;
    }));
  };

  // ---- hands
  const act = { play: () => { clock.playing = !clock.playing; clock.go(clock.position, true); },
    back: () => clock.step(-1), next: () => clock.step(1) };
  for (const [name, work] of Object.entries(act)) {
    if (name !== 'play') { $(name).innerHTML = vidgen.icon(name); $(name).setAttribute('aria-label', vidgen.t(name)); }
    $(name).onclick = work;
  }
  scrub.setAttribute('aria-label', vidgen.t('frame'));
  scrub.oninput = () => { clock.playing = false; clock.go(Number(scrub.value), true); };
  const seek = (event) => {
    const box = film.getBoundingClientRect();
    clock.playing = false;
    clock.go(Math.min(Math.max((event.clientX - box.left) / box.width, 0), 0.999) * (clip?.frames || 1), true);
  };
  film.addEventListener('pointerdown', (event) => { film.setPointerCapture(event.pointerId); seek(event); });
  film.addEventListener('pointermove', (event) => { if (film.hasPointerCapture(event.pointerId)) seek(event); });
  screen.onclick = act.play;
  screen.addEventListener('keydown', (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const work = { ' ': act.play, k: act.play, ArrowRight: act.next, ArrowLeft: act.back,
      Home: () => clock.step(-clock.frame), End: () => clock.step(clock.frames - 1 - clock.frame),
      c: () => document.querySelector('#content_dice').click(), m: () => document.querySelector('#motion_dice').click() }[event.key];
    if (work) { event.preventDefault(); work(); }
  });
  new ResizeObserver(() => clip && clock.go(clock.position, true)).observe(film);

  element.querySelectorAll('[data-word]').forEach((item) => { item.textContent = vidgen.t(item.dataset.word); });
  film.setAttribute('aria-label', vidgen.t('filmstrip'));
  plot.setAttribute('aria-label', vidgen.t('path_label'));
  element.querySelectorAll('[data-tip]').forEach((item) => { item.title = vidgen.t(item.dataset.tip); });

  vidgen.fireAdopt = () => trigger('adopt');
  vidgen.listeners.push((recipe) => { wanted = recipe; chips(); live.request(recipe); });
  vidgen.adopt(vidgen.fromAddress(location.search));
  // The page may not listen yet: ask again until the controls have been set once.
  const insist = setInterval(() => {
    if (!vidgen.adopted) { trigger('adopt'); return; }
    clearInterval(insist);
    // Gradio's page-wide "Loading..." sometimes stays although all is there, and would catch every click.
    document.querySelectorAll('.app > [data-testid="status-tracker"]').forEach((veil) => { veil.style.display = 'none'; });
    if (vidgen.arrival.has('board')) document.querySelectorAll('#tabs [role=tab]')[1]?.click();
  }, 300);
  window.addEventListener('popstate', () => vidgen.adopt(vidgen.fromAddress(location.search)));
};
