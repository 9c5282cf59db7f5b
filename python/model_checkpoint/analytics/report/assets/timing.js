// Where the time of saves, loads and verifications went.

const MOST_OPERATIONS = 20;

function timingSection() {
  const kinds = [...new Set(data.operations.map((one) => one.kind))];
  if (!kinds.length) return el('p', { class: 'empty' }, 'No save, load or verification of this store has been timed yet.');
  return el('div', {}, kinds.map((kind) => timingOf(kind, data.operations.filter((one) => one.kind === kind))));
}

function timingOf(kind, operations) {
  const totals = new Map();
  for (const one of operations) for (const [stage, seconds] of one.stages) totals.set(stage, (totals.get(stage) || 0) + seconds);
  const stages = data.stages.filter((stage) => totals.has(stage));
  const stalls = operations.map((one) => one.stall_s).filter((stall) => stall !== null);
  const facts = [`median ${duration(median(operations.map((one) => one.seconds)))}`];
  if (stalls.length) facts.push(`training waits ${duration(median(stalls))}`);
  const last = operations.slice(-MOST_OPERATIONS).reverse();
  const most = Math.max(...last.map((one) => one.seconds), 1e-9);
  const item = (hue, name, seconds) => el('li', {}, el('span', { class: `swatch ${hue}`, 'aria-hidden': 'true' }), named(name),
    el('span', { class: 'quiet' }, share(seconds, operations)));
  return el('div', { class: 'timing' },
    el('h3', {}, named(kind), el('span', { class: 'quiet' }, `${plural(operations.length, 'time')} \u00b7 ${facts.join(' \u00b7 ')}`)),
    el('ul', { class: 'stages' }, stages.map((stage) => item(stageHue(stage), stage, totals.get(stage))),
      item('rest-of-time', 'other', operations.reduce((sum, one) => sum + unaccounted(one), 0))),
    el('div', { class: 'operations' }, last.map((one) => operationRow(one, most))),
    operations.length > last.length ? el('p', { class: 'quiet small' }, `the last ${last.length} of ${operations.length}`) : null);
}

// A stage looks the same wherever it is: those that take long have a hue of their own, the others are striped.
const PLAIN = ['wait', 'snapshot', 'hash', 'write', 'fsync', 'read', 'catalog', 'copy'];

function stageHue(stage) {
  const plain = PLAIN.indexOf(stage);
  if (plain >= 0) return `s${plain}`;
  return `s${data.stages.filter((one) => !PLAIN.includes(one)).indexOf(stage) % 8} striped`;
}

const unaccounted = (one) => Math.max(0, one.seconds - one.stages.reduce((sum, [, seconds]) => sum + seconds, 0));

function operationRow(one, most) {
  const bar = el('span', { class: 'stage-bar', role: 'img', 'aria-label': one.stages.map(([name, seconds]) => `${name} ${duration(seconds)}`).join(', ') });
  const add = (hue, seconds, title) => {
    const part = el('span', { class: hue, title });
    part.style.width = (100 * seconds) / most + '%';
    bar.append(part);
  };
  for (const [name, seconds] of one.stages) add(stageHue(name), seconds, `${name}: ${duration(seconds)}`);
  add('rest-of-time', unaccounted(one), `other: ${duration(unaccounted(one))}`);
  if (one.stall_s !== null) add('stall', Math.min(one.stall_s, one.seconds), `training waited ${duration(one.stall_s)}`);
  return el('div', { class: 'operation' }, operationLabel(one), bar, el('span', { class: 'right' }, duration(one.seconds)));
}

// Of a narrow label the step stays.
function operationLabel(one) {
  const step = one.step === null ? null : el('span', { class: 'step' }, `step ${whole(one.step)}`);
  return el('span', { class: 'label', title: one.label }, named(one.experiment === null ? one.label : one.experiment, 20), step);
}

function share(seconds, operations) {
  const total = operations.reduce((sum, one) => sum + one.seconds, 0);
  if (!total) return '';
  const percent = (100 * seconds) / total;
  return percent > 0 && percent < 0.5 ? '< 1 %' : Math.round(percent) + ' %';
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
