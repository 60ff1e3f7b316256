// The recipe that the page shows: read from the address, changed by the controls, the pad and the grid, asked for live.
// Runs first, inside the stage's `js_on_load`; everything shared hangs on window.vidgen.
const vidgen = (window.vidgen = window.vidgen || {});

vidgen.setUp = (props) => {
  vidgen.models = Object.fromEntries(props.models.map((model) => [model.name, model]));
  vidgen.names = props.names; // of the controls, in the order in which they come and go
  vidgen.ranges = props.ranges;
  vidgen.plain = props.plain; // a recipe with nothing set
  vidgen.arrival = new URLSearchParams(location.search); // the board reads its share later, when its tab is opened
  const language = (navigator.language || 'en').slice(0, 2);
  vidgen.words = { ...props.words.en, ...(props.words[language] || {}) };
};

vidgen.t = (key, values = {}) =>
  (vidgen.words[key] || key).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? '');

vidgen.copy = (plain) => JSON.parse(JSON.stringify(plain)); // structuredClone refuses the proxies that Gradio hands out
vidgen.sleep = (seconds) => new Promise((done) => setTimeout(done, seconds * 1000));
vidgen.randomSeed = () => Math.floor(Math.random() * 1e6);
vidgen.clamp = (name, value) => Math.min(Math.max(value, vidgen.ranges[name][0]), vidgen.ranges[name][1]);
vidgen.make = (tag, settings = {}, ...children) => {
  const node = Object.assign(document.createElement(tag), settings);
  node.append(...children);
  return node;
};
vidgen.listeners = []; // called with the recipe whenever it has changed

// What makes up the subject of a clip, and what its movement: the halves that a swap exchanges.
vidgen.CONTENT = ['content_seed', 'content_to', 'content_mix', 'directions', 'pad', 'truncation'];
vidgen.MOTION = ['motion_seed', 'motion_to', 'motion_mix', 'splice_seed', 'splice_at', 'strength', 'smoothness',
  'speed', 'playback', 'category', 'category_to', 'category_at'];
vidgen.pick = (recipe, names) => Object.fromEntries(names.map((name) => [name, recipe[name]]));

// ---- the address bar: short key -> field -----------------------------------------------------------------------
const KEYS = { m: 'model', content: 'content_seed', motion: 'motion_seed', content2: 'content_to', cmix: 'content_mix',
  motion2: 'motion_to', mmix: 'motion_mix', splice: 'splice_seed', cut: 'splice_at', d: 'directions', pad: 'pad',
  strength: 'strength', smooth: 'smoothness', speed: 'speed', play: 'playback', cat: 'category', cat2: 'category_to',
  at: 'category_at', n: 'frames', fps: 'fps', trunc: 'truncation' };
const PLAYBACKS = ['forward', 'reverse', 'loop', 'freeze'];
const WHOLE = /seed|_to$|_at$|^category$|^frames$/;

const parseNumber = (name, text) => {
  const value = Number(text);
  if (text.trim() === '' || !Number.isFinite(value)) return undefined;
  return vidgen.clamp(name, WHOLE.test(name) ? Math.round(value) : value);
};

const parseField = (name, text, fallback) => {
  if (name === 'playback') return PLAYBACKS.includes(text) ? text : fallback;
  if (!Array.isArray(fallback)) return parseNumber(name, text) ?? fallback;
  const parts = text.split(',').map((part) => parseNumber(name, part));
  return parts.length === fallback.length && !parts.includes(undefined) ? parts : fallback;
};

vidgen.fromAddress = (search) => {
  const query = new URLSearchParams(search);
  const model = vidgen.models[query.get('m')] || Object.values(vidgen.models)[0];
  const recipe = vidgen.copy(model.defaults);
  for (const [key, name] of Object.entries(KEYS)) {
    if (name !== 'model' && query.has(key)) recipe[name] = parseField(name, query.get(key), recipe[name]);
  }
  return vidgen.tidy(recipe);
};

vidgen.toAddress = (recipe) => {
  const query = new URLSearchParams();
  const usual = vidgen.models[recipe.model].defaults;
  for (const [key, name] of Object.entries(KEYS)) {
    const always = ['model', 'content_seed', 'motion_seed'].includes(name);
    if (always || String(recipe[name]) !== String(usual[name])) query.set(key, recipe[name] ?? '');
  }
  if (vidgen.boardAddress) vidgen.boardAddress(query);
  else for (const key of ['board', 'rows', 'columns']) if (vidgen.arrival.has(key)) query.set(key, vidgen.arrival.get(key));
  return '?' + query.toString().replaceAll('%2C', ',');
};

// A model without that category, that truncation, or that many frames to change at: what the page can put right itself.
vidgen.tidy = (recipe) => {
  const model = vidgen.models[recipe.model];
  const count = model.categories.length;
  for (const name of ['category', 'category_to']) if (recipe[name] !== null && recipe[name] >= count) recipe[name] = null;
  if (!model.truncation) recipe.truncation = 1;
  recipe.splice_at = Math.min(recipe.splice_at, recipe.frames);
  recipe.category_at = Math.min(recipe.category_at, recipe.frames);
  return recipe;
};

let addressTimer = 0;
vidgen.writeAddress = () => {
  clearTimeout(addressTimer); // browsers refuse more than about three a second
  addressTimer = setTimeout(() => {
    try { history.replaceState(history.state, '', vidgen.toAddress(vidgen.recipe)); } catch { /* a sandboxed frame */ }
  }, 350);
};

// ---- the controls ----------------------------------------------------------------------------------------------
let seen = null; // per control, the value that the recipe already reflects
const coming = new Map(); // control -> the values it may still report before the one that we have set arrives

const near = (a, b) => a === b || (typeof a === 'number' && typeof b === 'number' && Math.abs(a - b) < 0.026); // half a step

// Note what the controls are being set to, so that their echoes are not taken for the visitor's wishes.
const expect = (values) => {
  seen ??= vidgen.controlValues(Object.values(vidgen.models)[0].defaults); // as the page was built
  values.forEach((value, i) => {
    if (!near(value, seen[i])) coming.set(i, (coming.get(i) || new Set()).add(seen[i]));
    coming.get(i)?.delete(value);
  });
  seen = values;
};

// Tell the visitor's changes from echoes: {name: value} of the controls that somebody moved.
const moved = (values) => {
  const fresh = {};
  values.forEach((value, i) => {
    if (coming.has(i)) {
      if (coming.get(i).has(value)) return; // still the old one
      coming.delete(i);
      if (near(value, seen[i])) { seen[i] = value; return; } // arrived, perhaps rounded to the slider's step
    }
    if (value !== seen[i]) { fresh[vidgen.names[i]] = value; seen[i] = value; }
  });
  return fresh;
};

const split = (model, index) => { // category index -> one position per axis
  if (index === null || !model.axes.length) return [-1, 0];
  const inner = model.axes.length > 1 ? model.axes[1].values.length : 1;
  return [Math.floor(index / inner), index % inner];
};
const join = (model, first, second) => {
  if (first === null || first === undefined || first < 0 || !model.axes.length) return null;
  return model.axes.length > 1 ? first * model.axes[1].values.length + Math.max(second ?? 0, 0) : first;
};

vidgen.controlValues = (recipe) => {
  const model = vidgen.models[recipe.model];
  const [a, b] = split(model, recipe.category);
  const [toA, toB] = split(model, recipe.category_to);
  const values = { ...recipe, category_a: a, category_b: b, to_a: toA, to_b: toB, ...vidgen.locks };
  recipe.directions.forEach((value, number) => { values[`direction_${number}`] = value; });
  return vidgen.names.map((name) => values[name]);
};

const shown = (text) => text.charAt(0).toUpperCase() + text.slice(1).replaceAll('_', ' ');
const choices = (axis, none) =>
  [...(none ? [[vidgen.t(none), -1]] : []), ...axis.values.map((value, index) => [shown(String(value)), index])];

// What each control needs besides its value when the model changes.
const trimmings = (name, model) => {
  const axes = model.axes;
  const axis = { category_a: axes[0], to_a: axes[0], category_b: axes[1], to_b: axes[1] };
  if (name in axis) {
    const none = { category_a: 'any', to_a: 'no_change' }[name];
    if (!axis[name]) return { visible: false };
    const idle = { category_b: vidgen.recipe.category, to_b: vidgen.recipe.category_to }[name] === null;
    return { visible: !idle, choices: choices(axis[name], none), label: shown(axis[name].name) };
  }
  if (name.startsWith('direction_')) return { label: model.directions[Number(name.slice(10))] };
  if (name === 'truncation') return { visible: model.truncation };
  if (name === 'frames') {
    const [low, high] = vidgen.ranges.frames;
    document.querySelector('#frames')?.style.setProperty('--mark', (model.clip_length - low) / (high - low));
    return { info: vidgen.t('frames_info', { n: model.clip_length }) };
  }
  if (name === 'category_at') return { visible: axes.length > 0 };
  return {};
};

vidgen.updates = () => {
  const model = vidgen.models[vidgen.recipe.model];
  const values = vidgen.controlValues(vidgen.recipe);
  expect([...values]);
  // On the root: at the first call, the part of the page that it hides may not be there yet.
  document.documentElement.classList.toggle('vg-no-categories', !model.axes.length);
  return vidgen.names.map((name, i) => ({ __type__: 'update', value: values[i], ...trimmings(name, model) }));
};

vidgen.locks = { content_lock: false, motion_lock: false };

// Called with every change of a native control, with the values of all of them.
vidgen.controls = (values) => {
  if (!vidgen.adopted) return; // the page is still being set up
  const fresh = moved(values);
  if (!Object.keys(fresh).length) return;
  const all = Object.fromEntries(vidgen.names.map((name, i) => [name, seen[i]]));
  if ('content_lock' in fresh || 'motion_lock' in fresh) vidgen.locks = vidgen.pick(all, Object.keys(vidgen.locks));
  if ('model' in fresh && vidgen.models[fresh.model]) return vidgen.changeModel(fresh.model);
  const recipe = { ...vidgen.recipe, directions: [...vidgen.recipe.directions] };
  const model = vidgen.models[recipe.model];
  for (const [name, value] of Object.entries(fresh)) {
    if (name.startsWith('direction_')) recipe.directions[Number(name.slice(10))] = value ?? 0;
    else if (name in recipe && name !== 'model' && value !== null && value !== '') recipe[name] = value;
  }
  if ('category_a' in fresh || 'category_b' in fresh) recipe.category = join(model, all.category_a, all.category_b);
  if ('to_a' in fresh || 'to_b' in fresh) recipe.category_to = join(model, all.to_a, all.to_b);
  vidgen.change(vidgen.tidy(recipe));
  if ('category_a' in fresh || 'to_a' in fresh) vidgen.fireAdopt(); // the second radio comes and goes with the first
};

vidgen.changeModel = (name) => {
  const before = vidgen.models[vidgen.recipe.model].defaults;
  const after = vidgen.models[name].defaults;
  const recipe = { ...vidgen.recipe, model: name, category: null, category_to: null, truncation: after.truncation };
  recipe.directions = [...after.directions];
  recipe.pad = [...after.pad];
  for (const field of ['frames', 'fps']) if (recipe[field] === before[field]) recipe[field] = after[field];
  vidgen.adopt(recipe);
};

// Take a new recipe from anything but the native controls, which are then set to it.
vidgen.adopt = (recipe) => {
  vidgen.change(vidgen.tidy({ ...vidgen.copy(vidgen.plain), ...vidgen.copy(recipe) }));
  vidgen.fireAdopt();
};

vidgen.change = (recipe) => {
  vidgen.recipe = recipe;
  for (const listener of vidgen.listeners) listener(recipe);
  vidgen.writeAddress();
};

// The dice: the seeds to show, unless locked.
vidgen.rolled = (...kinds) => {
  const recipe = { ...vidgen.recipe };
  for (const kind of kinds) if (!vidgen.locks[`${kind}_lock`]) recipe[`${kind}_seed`] = vidgen.randomSeed();
  const values = kinds.map((kind) => recipe[`${kind}_seed`]);
  const now = seen || vidgen.controlValues(vidgen.recipe);
  expect(vidgen.names.map((name, i) => (kinds.some((kind) => name === `${kind}_seed`) ? recipe[name] : now[i])));
  vidgen.change(recipe);
  return values.length === 1 ? values[0] : values;
};

// ---- one request in flight, the newest wins --------------------------------------------------------------------
vidgen.Live = class {
  // ask(value) -> answer; show(answer, value); say(state, text), state one of idle, drawing, waiting, error
  constructor(ask, show, say = () => {}) { Object.assign(this, { ask, show, say, newest: null, running: false }); }

  request(value) {
    this.newest = value;
    if (!this.running) this.run();
  }

  async run() {
    this.running = true;
    while (this.newest !== null) {
      const value = this.newest;
      this.newest = null;
      this.say('drawing');
      let answer;
      try { answer = await this.ask(value); } catch { answer = null; }
      if (answer?.busy) {
        this.say('waiting', vidgen.t('busy'));
        await vidgen.sleep(Math.min(Math.max(answer.retry, 0.1), 5));
        this.newest ??= value;
      } else if (!answer || answer.error || answer.detail) {
        this.say('error', answer?.error || vidgen.t('offline'));
      } else {
        await this.show(answer, value);
        this.say('idle');
      }
    }
    this.running = false;
  }
};

// ---- the drag pad ----------------------------------------------------------------------------------------------
vidgen.mountPad = (element) => {
  const field = element.querySelector('.vg-pad');
  const knob = field.querySelector('.vg-knob');
  const reach = vidgen.ranges?.pad?.[1] ?? 3;
  field.setAttribute('aria-label', vidgen.t('pad'));
  element.querySelector('.vg-pad-title').textContent = vidgen.t('pad');
  element.querySelector('.vg-pad-hint').textContent = vidgen.t('pad_hint');
  const put = (x, y) => {
    const round = (value) => Math.round(Math.min(Math.max(value, -reach), reach) * 100) / 100;
    vidgen.change({ ...vidgen.recipe, pad: [round(x), round(y)] });
  };
  const show = ({ pad: [x, y] }) => {
    knob.style.left = `${50 + (50 * x) / reach}%`;
    knob.style.top = `${50 - (50 * y) / reach}%`;
    field.setAttribute('aria-valuetext', `${x.toFixed(1)}, ${y.toFixed(1)}`);
    field.setAttribute('aria-valuenow', x.toFixed(2));
  };
  const follow = (event) => {
    const box = field.getBoundingClientRect();
    put((((event.clientX - box.left) / box.width) * 2 - 1) * reach, (1 - ((event.clientY - box.top) / box.height) * 2) * reach);
  };
  field.addEventListener('pointerdown', (event) => { field.setPointerCapture(event.pointerId); follow(event); });
  field.addEventListener('pointermove', (event) => { if (field.hasPointerCapture(event.pointerId)) follow(event); });
  field.addEventListener('dblclick', () => put(0, 0));
  field.addEventListener('keydown', (event) => {
    const step = event.shiftKey ? 0.5 : 0.1;
    const move = { ArrowRight: [step, 0], ArrowLeft: [-step, 0], ArrowUp: [0, step], ArrowDown: [0, -step] }[event.key];
    const [x, y] = vidgen.recipe.pad;
    if (move) put(x + move[0], y + move[1]);
    else if (event.key === 'Home') put(0, 0);
    else return;
    event.preventDefault();
  });
  vidgen.listeners.push(show);
  if (vidgen.recipe) show(vidgen.recipe);
};
