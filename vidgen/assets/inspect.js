// The Inspect tab: a clip and where each of its motion styles acts, on one clock, and how alike the styles are.
// Runs after hub.js.
const vidgen = window.vidgen;

vidgen.mountInspect = (element, props, server) => {
  const { t, icon, randomSeed, make } = vidgen;
  const board = element.querySelector('.vg-inspect');
  const $ = (name) => board.querySelector(`.vg-${name}`);
  const [shortest, longest] = props.lengths;
  const fresh = (name) => {
    const usual = vidgen.copy(vidgen.models[name].defaults);
    return { ...usual, frames: Math.min(Math.max(vidgen.models[name].clip_length, shortest), longest) };
  };
  let recipe = fresh(props.names[0]);
  let sheet = null, clip = null, papers = [], visible = false;

  // ---- the clips, on one clock
  const clock = vidgen.transport(board, (frame) => {
    if (!clip || !visible) return false;
    const { width, height } = clip;
    papers.forEach((paper, place) => paper.drawImage(sheet, place * width, frame * height, width, height, 0, 0, width, height));
    return true;
  });

  const cells = (model) => {
    const figures = Array.from({ length: clip.columns }, (_, place) => {
      const name = place ? t('style_n', { n: place }) : t('clip');
      const canvas = make('canvas', { width: clip.width, height: clip.height });
      canvas.setAttribute('role', 'img');
      vidgen.edges(canvas, model);
      canvas.setAttribute('aria-label', place ? t('style_label', { n: place }) : t('clip_label', { content: recipe.content_seed, motion: recipe.motion_seed }));
      return make('figure', {}, canvas, make('figcaption', { textContent: name }));
    });
    $('styles').replaceChildren(...figures);
    $('styles').style.setProperty('--columns', Math.ceil(Math.sqrt(figures.length)));
    papers = figures.map((figure) => figure.firstChild.getContext('2d'));
  };

  // ---- the cosines: amber is alike, teal is opposite, and the number says it too
  const table = (cosine) => {
    const names = cosine.map((_, style) => make('th', { scope: 'col', textContent: style + 1 }));
    $('cosines').style.setProperty('--columns', cosine.length + 1);
    $('cosines').tHead.replaceChildren(make('tr', {}, make('td'), ...names));
    $('cosines').tBodies[0].replaceChildren(...cosine.map((row, style) => make('tr', {},
      make('th', { scope: 'row', textContent: style + 1 }),
      ...row.map((value) => {
        const brief = value.toFixed(2).replace(/^(-?)0/, '$1').replace('-', '−').replace('1.00', '1'); // eight fit a phone
        const cell = make('td', { textContent: brief });
        cell.style.setProperty('--share', `${Math.round(Math.abs(value) * 42)}%`); // more would cost the number its contrast
        cell.style.setProperty('--hue', value < 0 ? 'var(--vg-content)' : 'var(--vg-motion)');
        return cell;
      }))));
  };

  let sayTimer = 0;
  const say = (state, text = '') => {
    clearTimeout(sayTimer);
    const put = () => {
      Object.assign($('status').dataset, { state });
      $('status').textContent = text || t(state);
      $('styles').setAttribute('aria-busy', String(state === 'drawing' || state === 'waiting'));
    };
    if (state === 'drawing') sayTimer = setTimeout(put, 250); // shorter waits would only flicker
    else put();
  };
  let shown = null;
  const live = new vidgen.Live((wish) => server.inspect({ recipe: wish }), async (answer, wish) => {
    sheet = await vidgen.picture(answer.src);
    clip = answer;
    cells(wish.model);
    table(answer.cosine);
    clock.load(answer.frames, answer.fps);
    shown = wish;
    vidgen.inspected = { recipe: wish, cosine: answer.cosine };
  }, say);
  const wish = (change) => {
    recipe = vidgen.tidy({ ...recipe, ...change });
    tell();
    if (visible) live.request(recipe);
  };

  // ---- the tools, and how they are told of a new recipe
  const spaced = (name) => name.charAt(0).toUpperCase() + name.slice(1).replaceAll('_', ' ');
  const fill = (select, values) => select.replaceChildren(...values.map(([value, textContent]) => make('option', { value, textContent })));
  const model = make('select', { onchange: () => wish({ ...fresh(model.value), ...vidgen.pick(recipe, ['content_seed', 'motion_seed']) }) });
  fill(model, props.names.map((name) => [name, vidgen.models[name].title]));
  const seeds = ['content_seed', 'motion_seed'].map((name) => {
    const input = make('input', { type: 'number', min: 0, max: 2 ** 31 - 1, step: 1, name });
    input.onchange = () => wish({ [name]: vidgen.clamp(name, Math.round(Number(input.value))) });
    return input;
  });
  const dice = seeds.map(({ name }) => {
    const title = `${t('reroll')}: ${t(name)}`;
    const button = make('button', { type: 'button', innerHTML: icon('dice'), title, onclick: () => wish({ [name]: randomSeed() }) });
    button.setAttribute('aria-label', title);
    return button;
  });
  const category = make('select', { onchange: () => wish({ category: category.value === '' ? null : Number(category.value) }) });
  const length = make('input', { type: 'range', min: shortest, max: longest, step: 1, onchange: () => wish({ frames: Number(length.value) }) });
  const read = make('output');
  length.oninput = () => { read.textContent = length.value; };
  const take = () => {
    const known = props.names.includes(vidgen.recipe.model);
    const taken = known ? vidgen.copy(vidgen.recipe) : vidgen.pick(vidgen.recipe, ['content_seed', 'motion_seed']);
    wish({ ...taken, frames: Math.min(vidgen.recipe.frames, longest) });
  };
  const label = (word, ...parts) => make('label', {}, t(word), ...parts);
  const tools = { model: label('model', model), category: label('category', category) };
  $('tools').replaceChildren(tools.model, ...seeds.map((input, i) => make('span', { className: 'vg-both' }, label(input.name, input), dice[i])), tools.category,
    label('frames', length, read), make('button', { type: 'button', textContent: t('from_generate'), onclick: take }));
  const tell = () => {
    const { categories } = vidgen.models[recipe.model];
    model.value = recipe.model;
    seeds.forEach((input) => { input.value = recipe[input.name]; });
    fill(category, [['', t('any')], ...categories.map((name, index) => [index, spaced(name)])]);
    category.value = recipe.category ?? '';
    tools.category.hidden = !categories.length;
    length.value = read.textContent = recipe.frames;
  };

  $('help').textContent = t('inspect_help');
  $('cosines').caption.textContent = t('cosine_title');
  $('cosine-help').textContent = t('cosine_help');
  $('low').textContent = t('heat_low');
  $('high').textContent = t('heat_high');
  $('scale').style.background = `linear-gradient(to right, ${props.legend.join(', ')})`;
  tell();
  new IntersectionObserver((entries) => {
    visible = entries.at(-1).isIntersecting;
    if (visible && shown !== recipe) live.request(recipe);
    else if (visible) clock.go(clock.position, true);
  }).observe(board);
};
vidgen.mountInspect(element, props, server);
