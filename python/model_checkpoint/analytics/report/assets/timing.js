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
  const stages = [...totals.keys()];
  const stalls = operations.map((one) => one.stall_s).filter((stall) => stall !== null);
  const facts = [`median ${duration(median(operations.map((one) => one.seconds)))}`];
  if (stalls.length) facts.push(`training waits ${duration(median(stalls))}`);
  const last = operations.slice(-MOST_OPERATIONS).reverse();
  const most = Math.max(...last.map((one) => one.seconds), 1e-9);
  return el('div', { class: 'timing' },
    el('h3', {}, named(kind), el('span', { class: 'quiet' }, `${plural(operations.length, 'time')} \u00b7 ${facts.join(' \u00b7 ')}`)),
    el('ul', { class: 'stages' }, stages.map((stage, n) => el('li', {}, el('span', { class: `swatch s${n % 8}`, 'aria-hidden': 'true' }), named(stage),
      el('span', { class: 'quiet' }, share(totals.get(stage), operations))))),
    el('div', { class: 'operations' }, last.map((one) => operationRow(one, stages, most))),
    operations.length > last.length ? el('p', { class: 'quiet' }, `the last ${last.length} of ${operations.length}`) : null);
}

function operationRow(one, stages, most) {
  const bar = el('span', { class: 'stage-bar', role: 'img', 'aria-label': one.stages.map(([name, seconds]) => `${name} ${duration(seconds)}`).join(', ') });
  for (const [name, seconds] of one.stages) {
    const part = el('span', { class: `s${stages.indexOf(name) % 8}`, title: `${name}: ${duration(seconds)}` });
    part.style.width = (100 * seconds) / most + '%';
    bar.append(part);
  }
  const rest = el('span', { class: 'rest-of-time', title: 'in no stage' });
  rest.style.width = (100 * Math.max(0, one.seconds - one.stages.reduce((sum, [, seconds]) => sum + seconds, 0))) / most + '%';
  bar.append(rest);
  if (one.stall_s !== null) {
    const stall = el('span', { class: 'stall', title: `training waited ${duration(one.stall_s)}` });
    stall.style.width = (100 * Math.min(one.stall_s, one.seconds)) / most + '%';
    bar.append(stall);
  }
  return el('div', { class: 'operation' }, el('span', { class: 'label' }, named(one.label, 27)), bar, el('span', { class: 'right' }, duration(one.seconds)));
}

function share(seconds, operations) {
  const total = operations.reduce((sum, one) => sum + one.seconds, 0);
  return total ? Math.round((100 * seconds) / total) + ' %' : '';
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b), middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
