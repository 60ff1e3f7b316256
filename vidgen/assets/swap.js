// The board of the Swap tab: many clips on one clock, each cell a button that opens its clip in Generate.
// Runs after hub.js.
const vidgen = window.vidgen;

vidgen.mountBoard = (element, server, trigger) => {
  const { t, icon, randomSeed, make } = vidgen;
  const REACHED = 'button, input, select';
  const MODES = ['grid', 'ab', 'blend', 'splice'];
  const board = element.querySelector('.vg-board');
  const $ = (name) => board.querySelector(`.vg-${name}`);
  const seeds = (count) => Array.from({ length: count }, () => ({ seed: randomSeed(), locked: false, pinned: false }));
  const state = { mode: 'grid', rows: seeds(4), columns: seeds(4), a: null, b: null,
    blend: { what: 'content', first: randomSeed(), second: randomSeed() }, splice: { a: randomSeed(), b: randomSeed(), at: null } };
  let cells = [], visible = false, run = 0;

  const readSeeds = (text) => (text || '').split('.').map(Number)
    .filter((seed) => Number.isInteger(seed) && seed >= 0 && seed < 2 ** 31).slice(0, 8)
    .map((seed) => ({ seed, locked: false, pinned: false }));
  const query = vidgen.arrival;
  for (const name of ['rows', 'columns']) {
    const given = readSeeds(query.get(name));
    if (given.length >= 2) state[name] = given;
  }
  if (MODES.includes(query.get('board'))) state.mode = query.get('board');
  vidgen.boardAddress = (wish) => {
    if (visible) wish.set('board', state.mode); // its presence opens the Swap tab
    for (const name of ['rows', 'columns']) wish.set(name, state[name].map((line) => line.seed).join('.'));
  };

  // ---- what each mode shows: {recipe, label, caption?}
  const base = () => ({ ...vidgen.recipe, content_to: null, content_mix: 0, motion_to: null, motion_mix: 0, splice_seed: null, splice_at: 0 });
  const crossed = (content, motion) => ({ ...base(), ...vidgen.pick(content, vidgen.CONTENT), ...vidgen.pick(motion, vidgen.MOTION) });
  const plans = {
    grid: () => state.rows.flatMap((row) => state.columns.map((column) => ({
      recipe: { ...base(), content_seed: row.seed, motion_seed: column.seed },
      label: t('cell', { content: row.seed, motion: column.seed }),
    }))),
    ab: () => {
      state.a ??= { ...vidgen.recipe };
      state.b ??= { ...base(), content_seed: randomSeed(), motion_seed: randomSeed() };
      const { a, b } = state;
      return [['name_a', a, a], ['name_b', b, b], ['name_ab', a, b], ['name_ba', b, a]]
        .map(([name, content, motion]) => ({ recipe: crossed(content, motion), label: t('open', { name: t(name) }), caption: t(name) }));
    },
    blend: () => Array.from({ length: 7 }, (_, i) => {
      const { what, first, second } = state.blend, mix = i / 6;
      const recipe = { ...base(), [`${what}_seed`]: first, [`${what}_to`]: mix ? second : null, [`${what}_mix`]: mix };
      const caption = `${Math.round(mix * 100)}%`;
      return { recipe, label: t('open', { name: caption }), caption };
    }),
    splice: () => {
      const { a, b } = state.splice;
      state.splice.at = Math.min(state.splice.at ?? Math.floor(vidgen.recipe.frames / 2), vidgen.recipe.frames);
      return [['motion_a', { motion_seed: a }], ['name_splice', { motion_seed: a, splice_seed: b, splice_at: state.splice.at }], ['motion_b', { motion_seed: b }]]
        .map(([name, change]) => ({ recipe: { ...base(), ...change }, label: t('open', { name: t(name) }), caption: t(name) }));
    },
  };

  // ---- rendering: a row (or what has changed of it) a request; the newest wish stops the one before
  const draw = (cell, frame) => {
    if (!cell.image) return;
    const { width, height } = cell.clip;
    cell.paper.drawImage(cell.image, cell.place * width, Math.min(frame, cell.clip.frames - 1) * height, width, height, 0, 0, width, height);
  };
  const clock = new vidgen.Clock((frame) => {
    if (visible && frame >= 0) cells.forEach((cell) => draw(cell, frame));
  });
  const say = (text, bad = false) => { $('said').textContent = text; $('said').dataset.state = bad ? 'error' : 'idle'; };

  const batches = (wanted, columns) => { // by row; a single column goes as one
    const groups = new Map();
    const oneColumn = new Set(wanted.map((cell) => cells.indexOf(cell) % columns)).size === 1;
    for (const cell of wanted) {
      const row = oneColumn ? 0 : Math.floor(cells.indexOf(cell) / columns);
      groups.set(row, [...(groups.get(row) || []), cell]);
    }
    return [...groups.values()].flatMap((group) => group.length > 8 ? [group.slice(0, 8), group.slice(8)] : [group]);
  };

  const fill = async (wanted, columns) => {
    const mine = ++run;
    const all = wanted.length;
    let done = 0;
    const bar = $('bar'), cancel = $('cancel');
    const slow = setTimeout(() => { bar.hidden = cancel.hidden = false; }, 400);
    bar.max = all;
    bar.value = 0;
    for (const batch of batches(wanted, columns)) {
      let answer = null;
      do {
        try { answer = await server.preview({ recipes: batch.map((cell) => cell.recipe) }); } catch { answer = null; }
        if (mine !== run) { clearTimeout(slow); return; }
        if (answer?.busy) { say(t('busy')); await vidgen.sleep(Math.min(Math.max(answer.retry, 0.1), 5)); }
        if (mine !== run) { clearTimeout(slow); return; }
      } while (answer?.busy);
      if (!answer?.src) { say(answer?.error || t('offline'), true); break; }
      const image = await vidgen.picture(answer.src);
      if (mine !== run) { clearTimeout(slow); return; }
      batch.forEach((cell, place) => {
        Object.assign(cell, { image, place, clip: answer });
        Object.assign(cell.canvas, { width: answer.width, height: answer.height });
        vidgen.edges(cell.canvas, cell.recipe.model);
        cell.button.setAttribute('aria-busy', 'false');
      });
      clock.load(answer.frames, answer.fps);
      done += batch.length;
      bar.value = done;
      say(t('progress', { done, all }));
      vidgen.boardShown = { done, all };
    }
    clearTimeout(slow);
    bar.hidden = cancel.hidden = true;
    if (done === all) say('');
  };
  $('cancel').textContent = t('cancel');
  $('cancel').onclick = () => { run += 1; $('bar').hidden = $('cancel').hidden = true; say(t('stopped')); };

  const key = (recipe) => JSON.stringify(recipe);
  const open = (cell) => { vidgen.adopt(cell.recipe); trigger('promote'); };
  const cellOf = (plan, old) => {
    const canvas = make('canvas', { width: 64, height: 64 });
    canvas.setAttribute('aria-hidden', 'true'); // its button has the name
    const button = make('button', { type: 'button', className: 'vg-cell' }, canvas);
    button.setAttribute('aria-label', plan.label);
    button.title = plan.label;
    const cell = { ...plan, canvas, button, paper: canvas.getContext('2d') };
    button.onclick = () => open(cell);
    const kept = old.get(key(plan.recipe));
    if (kept?.image) {
      Object.assign(cell, { image: kept.image, place: kept.place, clip: kept.clip });
      Object.assign(canvas, { width: kept.clip.width, height: kept.clip.height });
      vidgen.edges(canvas, plan.recipe.model);
    } else button.setAttribute('aria-busy', 'true');
    return cell;
  };

  const tiny = (name, label, press, pressed) => {
    const button = make('button', { type: 'button', innerHTML: icon(name), onclick: press, title: label });
    button.setAttribute('aria-label', label);
    if (pressed !== undefined) button.setAttribute('aria-pressed', String(pressed));
    return button;
  };
  const head = (kind, line, lines) => {
    const name = t(kind === 'row' ? 'row_name' : 'column_name', { seed: line.seed });
    const roll = () => { line.seed = randomSeed(); show(); };
    const lock = () => { line.locked = !line.locked; show(); };
    const pin = () => {
      line.pinned = !line.pinned;
      lines.sort((one, other) => other.pinned - one.pinned); // stable: the rest keeps its order
      show();
    };
    return make('div', { className: `vg-head vg-${kind}`, title: name }, make('span', { textContent: line.seed }),
      make('div', { className: 'vg-tiny' }, tiny('dice', `${t('reroll')}: ${name}`, roll),
        tiny(line.locked ? 'locked' : 'unlocked', `${t('lock')}: ${name}`, lock, line.locked),
        tiny('pin', `${t('pin')}: ${name}`, pin, line.pinned)));
  };

  const show = () => {
    if (!vidgen.recipe || !visible) return; // drawn when the tab is opened
    const focused = [...board.querySelectorAll(REACHED)].indexOf(document.activeElement);
    const old = new Map(cells.map((cell) => [key(cell.recipe), cell]));
    cells = plans[state.mode]().map((plan) => cellOf(plan, old));
    const grid = state.mode === 'grid';
    const columns = grid ? state.columns.length : { ab: 2, blend: 7, splice: 3 }[state.mode];
    const field = $('cells');
    field.className = `vg-cells ${grid ? 'vg-grid' : 'vg-plain'}`;
    field.style.setProperty('--columns', columns);
    if (grid) {
      const corner = make('div', { className: 'vg-corner', textContent: `${t('rows')} × ${t('columns')}` });
      field.replaceChildren(corner, ...state.columns.map((line) => head('column', line, state.columns)),
        ...state.rows.flatMap((line, row) => [head('row', line, state.rows), ...cells.slice(row * columns, (row + 1) * columns).map((cell) => cell.button)]));
    } else {
      field.replaceChildren(...cells.map((cell) => make('figure', {}, cell.button, make('figcaption', { textContent: cell.caption }))));
    }
    tools();
    if (focused >= 0) board.querySelectorAll(REACHED)[focused]?.focus();
    clock.go(clock.position, true);
    const missing = cells.filter((cell) => !cell.image);
    if (missing.length) fill(missing, columns);
    else { run += 1; say(''); $('bar').hidden = $('cancel').hidden = true; vidgen.boardShown = { done: cells.length, all: cells.length }; }
    vidgen.writeAddress();
  };

  // ---- the tools of each mode
  const press = (word, work) => make('button', { type: 'button', textContent: t(word), onclick: work });
  const number = (word, value, put) => {
    const input = make('input', { type: 'number', min: 0, max: 2 ** 31 - 1, step: 1, value });
    input.onchange = () => { const seed = Math.round(Number(input.value)); if (seed >= 0 && seed < 2 ** 31) { put(seed); show(); } };
    return make('label', {}, t(word), input, tiny('dice', `${t('reroll')}: ${t(word)}`, () => { put(randomSeed()); show(); }));
  };
  const size = (word, name) => {
    const select = make('select', {}, ...[2, 3, 4, 5, 6, 7, 8].map((n) => make('option', { value: n, textContent: n, selected: n === state[name].length })));
    select.onchange = () => {
      const count = Number(select.value);
      state[name] = [...state[name].slice(0, count), ...seeds(Math.max(0, count - state[name].length))];
      show();
    };
    select.dataset.size = name;
    return make('label', {}, t(word), select);
  };
  const play = () => {
    const button = tiny(clock.playing ? 'pause' : 'play', t(clock.playing ? 'pause' : 'play'), () => {
      clock.playing = !clock.playing;
      tools();
      board.querySelector('.vg-board-play').focus();
    });
    button.classList.add('vg-board-play');
    return button;
  };
  const toolsOf = {
    grid: () => [size('rows', 'rows'), size('columns', 'columns'),
      press('roll_all', () => { for (const line of [...state.rows, ...state.columns]) if (!line.locked) line.seed = randomSeed(); show(); }),
      press('from_generate', () => {
        const put = (lines, seed) => { const line = lines.find((one) => !one.locked && !one.pinned) || lines[0]; line.seed = seed; };
        put(state.rows, vidgen.recipe.content_seed);
        put(state.columns, vidgen.recipe.motion_seed);
        show();
      })],
    ab: () => ['a', 'b'].flatMap((side) => [
      number(`${side}_content`, state[side].content_seed, (seed) => { state[side] = { ...state[side], content_seed: seed }; }),
      number(`${side}_motion`, state[side].motion_seed, (seed) => { state[side] = { ...state[side], motion_seed: seed }; }),
      press(`take_${side}`, () => { state[side] = { ...vidgen.recipe }; show(); }),
      make('span', { className: 'vg-break' })]),
    blend: () => {
      const select = make('select', {}, ...['content', 'motion'].map((what) => make('option', { value: what, textContent: t(what), selected: what === state.blend.what })));
      select.onchange = () => { state.blend.what = select.value; show(); };
      return [make('label', {}, t('blend_what'), select), number('first', state.blend.first, (seed) => { state.blend.first = seed; }),
        number('second', state.blend.second, (seed) => { state.blend.second = seed; })];
    },
    splice: () => {
      const slide = make('input', { type: 'range', min: 0, max: vidgen.recipe.frames, step: 1, value: state.splice.at });
      const read = make('output', { textContent: state.splice.at });
      slide.oninput = () => { read.textContent = slide.value; };
      slide.onchange = () => { state.splice.at = Number(slide.value); show(); board.querySelector('.vg-tools input[type=range]')?.focus(); };
      return [number('motion_a', state.splice.a, (seed) => { state.splice.a = seed; }),
        number('motion_b', state.splice.b, (seed) => { state.splice.b = seed; }), make('label', {}, t('splice_from'), slide, read)];
    },
  };
  const tools = () => {
    $('help').textContent = t(`${state.mode}_help`);
    $('tools').replaceChildren(play(), ...toolsOf[state.mode]());
    $('modes').replaceChildren(...MODES.map((mode) => {
      const button = press(mode, () => { state.mode = mode; show(); });
      button.setAttribute('aria-pressed', String(mode === state.mode));
      button.dataset.mode = mode;
      return button;
    }));
  };

  vidgen.listeners.push(show);
  new IntersectionObserver((entries) => { visible = entries.at(-1).isIntersecting; show(); vidgen.writeAddress(); }).observe(board);
};
vidgen.mountBoard(element, server, trigger);
