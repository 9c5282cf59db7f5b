// The page: its sections, what can be changed in it, and when charts are drawn.

const data = JSON.parse(document.getElementById('data').textContent);
const view = { hidden: new Set(), log: false, smoothing: 0, marks: true };
const drawers = []; // { figure, draw }: what draws itself when it is seen
const COLOURS = 8;

// Experiments by how good they are, those of one metric together; the first ones have colours of their own.
const order = data.experiments.map((_, place) => place).sort((a, b) => {
  const [one, other] = [data.experiments[a], data.experiments[b]];
  if (one.monitor !== other.monitor) return String(one.monitor).localeCompare(String(other.monitor));
  if (one.best === null || other.best === null) return (one.best === null) - (other.best === null) || a - b;
  return (one.mode === 'max' ? -1 : 1) * (one.best - other.best) || a - b;
});
const commonStart = startOfAll(data.experiments.map((one) => shown(one.name)));
const ranks = new Map(order.map((place, rank) => [place, rank]));

function colour(experiment) {
  if (experiment === null) return 'neutral';
  const rank = ranks.get(experiment);
  return rank < COLOURS ? `c${rank}` : 'others';
}

const announcer = el('div', { class: 'hidden', 'aria-live': 'polite' });
const announce = (message) => { announcer.textContent = message; };

// --- drawing when seen ------------------------------------------------------------------------------------------------

const waiting = new Map();
const observer = new IntersectionObserver((entries) => {
  for (const entry of entries) if (entry.isIntersecting && waiting.has(entry.target)) drawNow(entry.target);
}, { rootMargin: '300px' });

function drawNow(figure) {
  const draw = waiting.get(figure);
  waiting.delete(figure);
  observer.unobserve(figure);
  draw();
  if (!performance.getEntriesByName('first-chart').length) performance.mark('first-chart');
}

function redraw() {
  for (const { figure, draw } of drawers) { waiting.set(figure, draw); observer.observe(figure); }
}

const drawAll = () => [...waiting.keys()].forEach(drawNow);

// --- sections ---------------------------------------------------------------------------------------------------------

function head() {
  const total = data.experiments.reduce((sum, one) => sum + one.bytes, 0);
  const freed = data.experiments.reduce((sum, one) => sum + one.freed_bytes, 0);
  const monitors = new Set(data.experiments.filter((one) => one.best !== null).map((one) => one.monitor));
  const facts = [[plural(data.experiments.length, 'experiment').split(' '), null], [plural(data.checkpoints.length, 'checkpoint').split(' '), null],
    [[bytes(total), 'on disk'], freed ? `the next prune frees ${bytes(freed)}` : 'nothing to prune']];
  const winner = data.experiments[order[0]];
  if (monitors.size === 1 && winner.best !== null) {
    facts.unshift([[number(winner.best), broken(`best ${winner.monitor}`)], broken(`${winner.name}, step ${whole(winner.best_step)}`)]);
  }
  return [el('h1', {}, named(data.title)), el('p', { class: 'quiet' }, `Checkpoints and metrics as of ${moment(data.made_at)} UTC`),
    el('dl', { class: 'facts' }, facts.map(([[value, name], detail]) => el('div', {}, el('dt', {}, name), el('dd', {}, el('b', {}, value), detail ? el('span', { class: 'quiet' }, detail) : null))))];
}

function section(id, title, about, ...content) {
  return el('section', { id, 'aria-labelledby': id + '-title' }, el('h2', { id: id + '-title' }, title), about ? el('p', { class: 'about' }, about) : null, ...content);
}

function experimentsSection() {
  if (!data.experiments.length) return section('experiments', 'Experiments', '', el('p', { class: 'empty' }, 'There is no experiment in this store yet.'));
  const groups = data.groups.length ? [el('h3', {}, 'Over seeds'), groupTable()] : [];
  return section('experiments', 'Experiments', '', experimentTable(), ...groups);
}

function curvesSection() {
  if (!data.charts.length) return section('curves', 'Metrics', '', el('p', { class: 'empty' }, 'Nothing was logged, and no checkpoint has a metric.'));
  const grid = el('div', { class: data.charts.length === 1 ? 'grid single' : 'grid' });
  for (const chart of data.charts) {
    const made = curveChart(chart);
    made.figure.classList.toggle('monitored', chart.is_monitored);
    grid.append(made.figure);
    drawers.push(made);
  }
  return section('curves', 'Metrics', '', legend(), controls(grid), grid);
}

function legend() {
  const shownFirst = order.length > 24 ? order.slice(0, 16) : order;
  const button = (place) => el('button', { type: 'button', class: 'toggle', 'aria-pressed': 'true', onclick: (event) => toggle(place, event.currentTarget) },
    swatch(place), named(data.experiments[place].name, 30));
  const rest = order.slice(shownFirst.length);
  const more = rest.length ? el('details', {}, el('summary', {}, `and ${rest.length} more, in grey`), el('div', { class: 'legend' }, rest.map(button))) : null;
  return el('div', { class: 'legend-row' }, el('div', { class: 'legend', role: 'group', 'aria-label': 'Show or hide experiments' }, shownFirst.map(button)), more, symbolLegend(data.checkpoints));
}

function toggle(place, button) {
  const isHidden = !view.hidden.has(place);
  if (isHidden) view.hidden.add(place); else view.hidden.delete(place);
  button.setAttribute('aria-pressed', String(!isHidden));
  redraw();
}

function controls(grid) {
  const log = el('input', { type: 'checkbox', id: 'log', onchange: (event) => { view.log = event.target.checked; redraw(); } });
  const marks = el('input', { type: 'checkbox', id: 'marks', checked: true, onchange: (event) => { view.marks = event.target.checked; redraw(); } });
  const value = el('output', { for: 'smooth' }, 'off');
  const smooth = el('input', { type: 'range', id: 'smooth', min: 0, max: 0.99, step: 0.01, value: 0, oninput: (event) => {
    view.smoothing = Number(event.target.value);
    value.textContent = view.smoothing ? view.smoothing.toFixed(2) : 'off';
    redraw();
  } });
  const filter = el('input', { type: 'search', id: 'filter', placeholder: 'name of a metric', oninput: (event) => narrow(grid, event.target.value) });
  return el('div', { class: 'controls' }, el('label', {}, log, 'Log scale'), el('label', {}, marks, 'Checkpoints and marks'),
    el('label', { for: 'smooth' }, 'Smoothing', smooth, value), data.charts.length > 6 ? el('label', { for: 'filter' }, 'Filter', filter) : null);
}

function narrow(grid, wanted) {
  [...grid.children].forEach((figure, n) => { figure.hidden = !data.charts[n].metric.toLowerCase().includes(wanted.toLowerCase()); });
}

function checkpointsSection() {
  const owners = order.filter((place) => data.checkpoints.some((one) => one.experiment === place));
  if (!owners.length) return section('checkpoints', 'Checkpoints', '', el('p', { class: 'empty' }, 'There is no checkpoint yet.'));
  const holder = el('div', {});
  const choice = el('select', { id: 'whose' }, owners.map((place) => el('option', { value: place }, data.experiments[place].name)));
  const show = (isWhole) => {
    const place = Number(choice.value);
    const [count, made] = checkpointTable(place, isWhole);
    const policy = data.experiments[place].keep;
    holder.replaceChildren(el('p', { class: 'about' }, `${plural(count, 'checkpoint')}, ${bytes(data.experiments[place].bytes)}`, policy ? ` \u00b7 keep ${policy}` : ' \u00b7 everything is kept'), made);
    if (count > MOST_CHECKPOINTS && !isWhole) holder.append(el('button', { type: 'button', class: 'toggle', onclick: () => show(true) }, `Show all ${whole(count)}`));
  };
  choice.addEventListener('change', () => show(false));
  show(false);
  const chooser = owners.length > 1 ? el('div', { class: 'controls' }, el('label', { for: 'whose' }, 'Experiment'), choice) : null;
  return section('checkpoints', 'Checkpoints', '', chooser, holder);
}

function build() {
  document.querySelector('.page-head').append(...head());
  const sections = [experimentsSection(), curvesSection(), checkpointsSection(),
    section('trade-offs', 'Trade-offs', 'Symbols are the checkpoints that no other beats in both metrics.', tradeOffSection()),
    section('timing', 'Time', 'Where the time of the last operations went; a line below a bar is how long training waited.', timingSection()),
    section('lineage', 'Lineage', '', lineageSection())];
  document.querySelector('main').append(...sections);
  document.querySelector('.sections').append(...sections.map((one) => el('a', { href: '#' + one.id }, one.querySelector('h2').textContent)));
  document.querySelector('.page-foot').append('Made by ', el('code', {}, 'mckpt report'), '. This page is complete: it loads nothing.', announcer);
  redraw();
  new ResizeObserver(debounced(redraw)).observe(document.querySelector('main'));
  addEventListener('beforeprint', drawAll);
}

function debounced(action) {
  let timer = null, width = document.body.clientWidth;
  return () => {
    if (document.body.clientWidth === width) return;
    width = document.body.clientWidth;
    clearTimeout(timer);
    timer = setTimeout(action, 120);
  };
}

build();
