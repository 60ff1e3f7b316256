// The Compare tab: the same codes through two models, on one clock; which is which shows after the vote.
// Runs after hub.js and player.js. The votes stay in this browser; the server counts what it is sent.
const vidgen = window.vidgen;

vidgen.mountCompare = (element, props, server) => {
  const { t, make } = vidgen;
  const board = element.querySelector('.vg-compare');
  const $ = (name) => board.querySelector(`.vg-${name}`);
  const titles = Object.values(vidgen.models).map((info) => info.title);
  const title = (name) => { // two trainings of one model may share theirs
    const own = vidgen.models[name]?.title ?? name;
    return titles.filter((one) => one === own).length > 1 ? `${own} (${name})` : own;
  };
  const SIDES = ['left', 'right'];
  let sheet = null, clip = null, chosen = {}, visible = false;

  // ---- the clips, on one clock
  const captions = SIDES.map(() => make('figcaption', { ariaLive: 'polite' }));
  const papers = SIDES.map((side) => make('canvas', { width: 64, height: 64, ariaLabel: t(`${side}_clip`), role: 'img' }).getContext('2d'));
  $('styles').style.setProperty('--columns', SIDES.length);
  $('styles').append(...papers.map(({ canvas }, i) => make('figure', {}, canvas, captions[i])));
  const clock = vidgen.transport(board, (frame) => {
    if (!clip || !visible) return false;
    const { width, height } = clip;
    papers.forEach((paper, place) => paper.drawImage(sheet, place * width, frame * height, width, height, 0, 0, width, height));
    return true;
  });
  const reveal = (models) => SIDES.forEach((side, i) => {
    captions[i].textContent = models ? t('revealed_side', { side: t(side), model: title(models[side]) }) : t(side);
  });

  // ---- what is going on; the ballot is open while there is a pair to vote on
  const open = (is) => { ballot.forEach((button) => { button.disabled = !is; }); };
  let sayTimer = 0;
  const say = (state, text = '') => {
    clearTimeout(sayTimer);
    const put = () => {
      $('status').dataset.state = state;
      $('status').textContent = text || t(state === 'idle' ? 'vote_now' : state);
      $('styles').setAttribute('aria-busy', String(state === 'drawing' || state === 'waiting'));
      if (state === 'error') $('next-pair').disabled = false; // a way on, whatever happened
    };
    if (state === 'drawing') sayTimer = setTimeout(put, 250); // shorter waits would only flicker
    else put();
  };
  const call = async (work, data) => {
    let answer;
    try { answer = await work(data); } catch { answer = null; }
    if (answer && !answer.error && !answer.detail) return answer;
    say('error', answer?.error || t('offline'));
    return null;
  };
  const live = new vidgen.Live((wish) => server.compare(wish), async (answer, wish) => {
    sheet = await vidgen.picture(answer.src);
    clip = answer;
    papers.forEach(({ canvas }) => {
      Object.assign(canvas, { width: clip.width, height: clip.height });
      vidgen.edges(canvas, ...wish.models); // alike on both sides: the vote is blind
    });
    reveal(null);
    choose({});
    open(true);
    clock.load(clip.frames, clip.fps);
  }, say);
  const draw = () => {
    if (votes.length >= props.most) { say('error', t('votes_full', { n: props.most })); return; }
    open(false);
    $('next-pair').disabled = true;
    live.request({ models: models.map(({ value }) => value), category: category.value || null, frames: Number(length.value),
      content_seed: vidgen.randomSeed(), motion_seed: vidgen.randomSeed() });
  };

  // ---- the votes
  const KEY = 'vidgen-votes';
  const kept = () => { // what another page of this browser has added too
    try {
      const found = JSON.parse(localStorage.getItem(KEY));
      return Array.isArray(found) ? found : [];
    } catch { return votes; } // in a sandboxed frame: for as long as the page is open
  };
  const keep = (all) => {
    votes = all;
    try { localStorage.setItem(KEY, JSON.stringify(all)); } catch { /* as above */ }
  };
  let votes = [], csv = '';
  votes = kept();

  const choose = (answers) => {
    chosen = answers;
    ballot.forEach((button) => button.setAttribute('aria-pressed', String(chosen[button.name] === button.value)));
  };
  const press = async (question, answer) => {
    choose({ ...chosen, [question]: answer });
    if (!props.questions.every((one) => one in chosen)) return;
    const { trial } = clip;
    open(false);
    const told = await call(server.vote, { trial, ...chosen });
    if (!told) { if (trial === clip.trial) open(true); return; } // pressed again, it is sent again
    keep([...kept(), told.vote]);
    if (trial === clip.trial) {
      reveal(told.vote);
      say('idle', t('counted'));
      $('next-pair').disabled = false;
      $('next-pair').focus();
    }
    count();
  };
  const ballot = [];
  for (const question of props.questions) {
    const buttons = props.answers.map((value) =>
      make('button', { type: 'button', name: question, value, textContent: t(value), disabled: true, onclick: () => press(question, value) }));
    ballot.push(...buttons);
    const group = make('div', { role: 'group', ariaLabel: t(`more_${question}`) }, make('span', { textContent: t(`more_${question}`) }), ...buttons);
    $('ballot').append(group);
  }
  Object.assign($('next-pair'), { textContent: t('next_pair'), disabled: true, onclick: draw });

  // ---- their count
  const cells = (tag, values, more = {}) => values.map((textContent) => make(tag, { textContent, ...more }));
  const count = async () => {
    const empty = !votes.length;
    const answer = empty ? { rows: [], csv: '' } : await call(server.tally, { votes });
    $('clear').disabled = empty;
    $('csv').disabled = empty || !answer;
    if (!answer) return;
    csv = answer.csv;
    const pairs = {};
    for (const row of answer.rows) (pairs[row.models.join('\n')] ??= []).push(row);
    const bodies = Object.values(pairs).map((rows) => make('tbody', {},
      make('tr', {}, make('th', { scope: 'rowgroup', colSpan: 6, textContent: t('pair_names', { a: title(rows[0].models[0]), b: title(rows[0].models[1]) }) })),
      ...rows.map((row) => make('tr', {}, ...cells('th', [t(`more_${row.question}`)], { scope: 'row' }),
        ...cells('td', [...row.wins, row.ties, row.votes, row.p < 0.001 ? '< 0.001' : row.p.toFixed(3)])))));
    $('tally').replaceChildren($('tally').caption, $('tally').tHead, ...bodies);
    $('tally').caption.textContent = t(empty ? 'no_votes' : 'your_votes');
    $('tally').tHead.hidden = $('tally-help').hidden = empty;
  };
  $('tally').tHead.append(make('tr', {}, ...cells('th', ['question', 'a_wins', 'b_wins', 'ties', 'votes', 'p_value'].map((word) => t(word)), { scope: 'col' })));
  $('csv').textContent = t('save_csv');
  $('csv').onclick = () => {
    const href = URL.createObjectURL(new Blob([csv], { type: 'text/csv' }));
    make('a', { href, download: 'votes.csv' }).click();
    setTimeout(() => URL.revokeObjectURL(href), 1000);
  };
  $('clear').textContent = t('clear_votes');
  $('clear').onclick = () => { if (confirm(t('clear_sure'))) { keep([]); count(); } };

  // ---- the tools: two models, a category that both have, a length
  const fill = (select, values) => select.replaceChildren(...values.map(([value, textContent]) => make('option', { value, textContent })));
  const [shortest, longest] = props.lengths;
  const models = props.pair.map((value) => {
    const select = make('select', { onchange: () => { suit(); draw(); } });
    fill(select, Object.values(vidgen.models).map((info) => [info.name, title(info.name)]));
    select.value = value;
    return select;
  });
  const category = make('select', { onchange: draw });
  const read = make('output');
  const length = make('input', { type: 'range', min: shortest, max: longest, step: 1, onchange: draw, oninput: () => { read.textContent = length.value; } });
  const label = (word, ...parts) => make('label', {}, t(word), ...parts);
  const ofCategory = label('category', category);
  const suit = () => { // what the two models have in common
    const [a, b] = models.map(({ value }) => vidgen.models[value]);
    models.forEach((select, i) => { for (const option of select.options) option.disabled = option.value === models[1 - i].value; });
    const shared = a.categories.filter((one) => b.categories.includes(one));
    fill(category, [['', t('any')], ...shared.map((one) => [one, one.charAt(0).toUpperCase() + one.slice(1).replaceAll('_', ' ')])]);
    ofCategory.hidden = !shared.length;
    const alike = props.alike.some((pair) => pair.includes(a.name) && pair.includes(b.name));
    $('help').textContent = [t('compare_help'), ...(alike ? [] : [t('unlike')])].join(' ');
    length.value = Math.min(a.clip_length, b.clip_length); // what both were trained on
    read.textContent = length.value;
  };
  $('tools').append(label('first_model', models[0]), label('second_model', models[1]), ofCategory, label('frames', length, read));

  $('tally-help').textContent = t('p_help');
  reveal(null);
  suit();
  count();
  new IntersectionObserver((entries) => {
    visible = entries.at(-1).isIntersecting;
    if (visible && !clip && !live.running) draw();
    else if (visible) clock.go(clock.position, true);
  }).observe(board);
};
vidgen.mountCompare(element, props, server);
