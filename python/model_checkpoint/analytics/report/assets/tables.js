// Tables: experiments, groups of seeds, checkpoints.

function table(headings, rows, caption) {
  const head = el('tr', {}, headings.map((one) => el('th', { scope: 'col', class: one.right ? 'right' : null }, one.name ? broken(one.name) : one.title)));
  const body = rows.map((cells) => el('tr', {}, cells.map((cell, n) => el(n === 0 ? 'th' : 'td',
    { scope: n === 0 ? 'row' : null, class: headings[n].right ? 'right' : null }, cell))));
  return el('div', { class: 'scroll', tabindex: 0, role: 'region', 'aria-label': caption },
    el('table', {}, el('caption', { class: 'hidden' }, caption), el('thead', {}, head), el('tbody', {}, body)));
}

const words = (title) => ({ title: title.replaceAll(' ', '\u00a0') });
const figures = (title) => ({ ...words(title), right: true });
const figuresOf = (name) => ({ name, right: true }); // a metric or a setting: long ones are broken

function swatch(experiment) {
  return el('span', { class: `swatch ${colour(experiment)}`, 'aria-hidden': 'true' });
}

function experimentTable() {
  const monitors = new Set(data.experiments.map((one) => one.monitor));
  const headings = [words('Experiment'), ...(monitors.size > 1 ? [words('By')] : []), figures('Best'), figures('At step'), figures('Last'),
    figures('Steps'), words('Lately'), figures('Checkpoints'), figures('Size'), ...data.settings.map((one) => figuresOf(one.name))];
  const rows = order.map((place) => {
    const one = data.experiments[place];
    return [
      el('span', { class: 'owner' }, swatch(place), named(one.name, 40)),
      ...(monitors.size > 1 ? [one.monitor ? named(one.monitor) : '\u2013'] : []),
      el('b', {}, number(one.best)), whole(one.best_step), number(one.last), whole(one.last_step),
      one.lately ? el('span', { class: `lately ${one.lately}` }, one.lately) : '',
      whole(one.checkpoints), bytes(one.bytes),
      ...data.settings.map((setting) => (setting.values[place] === null ? '\u2013' : named(setting.values[place], 28))),
    ];
  });
  return table(headings, rows, 'Experiments and what they were made with');
}

function groupTable() {
  const headings = [words('Settings'), figures('Runs'), figures('Median'), figures('From'), figures('To'), figures('Behind the best'), figures('p'), words('Is it real?')];
  const rows = data.groups.map((group) => [
    named(group.settings, 60), whole(group.outcomes.length), el('b', {}, number(group.median)),
    number(Math.min(...group.outcomes)), number(Math.max(...group.outcomes)),
    number(group.difference), group.p_value === null || !group.is_decidable ? '\u2013' : group.p_value.toPrecision(2), verdict(group),
  ]);
  return table(headings, rows, 'Settings over several seeds');
}

function verdict(group) {
  if (group.p_value === null) return 'the best';
  if (!group.is_decidable) return 'too few runs to tell';
  return group.p_value < 0.05 ? 'yes, at 5 %' : 'may be chance';
}

const MOST_CHECKPOINTS = 100;

function checkpointTable(place, isWhole) {
  const all = data.checkpoints.filter((one) => one.experiment === place).reverse();
  const metrics = [...new Set(all.flatMap((one) => Object.keys(one.metrics)))].slice(0, 5);
  const most = Math.max(...all.map((one) => one.bytes), 1);
  const headings = [figures('Step'), words(''), words('Saved (UTC)'), ...metrics.map(figuresOf), words('Size'), words('Kept because'), words('State'), words('Id')];
  const rows = all.slice(0, isWhole ? all.length : MOST_CHECKPOINTS).map((one) => [
    whole(one.step), svg('svg', { width: 18, height: 18, class: 'inline', role: 'img', 'aria-label': SYMBOL_NAMES[symbolKind(one)] }, symbol(one, 9, 9)),
    moment(one.at), ...metrics.map((name) => number(one.metrics[name])), sizeBar(one.bytes, most), reasons(one),
    one.state !== 'committed' ? el('span', { class: 'bad' }, one.state) : one.verified ? 'verified' : 'committed', el('code', {}, one.id),
  ]);
  return [all.length, table(headings, rows, `Checkpoints of ${data.experiments[place].name}`)];
}

function sizeBar(value, most) {
  const fill = el('span', { class: 'bar-fill' });
  fill.style.width = (100 * value) / most + '%';
  return el('span', { class: 'bar' }, el('span', { class: 'bar-track', 'aria-hidden': 'true' }, fill), bytes(value));
}

function reasons(checkpoint) {
  if (checkpoint.reasons === null || !checkpoint.reasons.length) return el('span', { class: 'quiet' }, fate(checkpoint));
  return el('span', { class: 'chips' }, checkpoint.reasons.map((reason) => el('span', { class: reason === 'best' || reason === 'pinned' ? 'chip strong' : 'chip' }, named(reason, 40))));
}
