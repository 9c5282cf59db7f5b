// Curves of metrics over steps, one chart a metric.

const DASHES = ['', '7 4', '2 4', '9 3 2 3'];
const MOST_ROWS = 8;

// Which points are smoothed: of a reduced line the means of its columns, since extremes must not be averaged.
function smoothed(line, weight) {
  const xs = line.mean_x || line.x, ys = line.mean_y || line.y;
  const places = [], values = [];
  let sum = 0, total = 0;
  ys.forEach((value, n) => {
    if (value === null) return;
    sum = sum * weight + (1 - weight) * value;
    total = total * weight + (1 - weight);
    places.push(xs[n]);
    values.push(sum / total);
  });
  return [places, values];
}

// A path with a gap wherever there is no value; a value alone between two gaps is a dot.
function path(xs, ys, x, y, isDrawn) {
  let text = '', isOpen = false;
  for (let n = 0; n < xs.length; n += 1) {
    if (ys[n] === null || !isDrawn(ys[n])) { isOpen = false; continue; }
    const place = x(xs[n]).toFixed(1) + ' ' + y(ys[n]).toFixed(1);
    text += isOpen ? 'L' + place : 'M' + place + 'h0';
    isOpen = true;
  }
  return text;
}

function extent(lists, accept) {
  let low = Infinity, high = -Infinity;
  for (const list of lists) for (const value of list) {
    if (value === null || !accept(value)) continue;
    if (value < low) low = value;
    if (value > high) high = value;
  }
  return low <= high ? [low, high] : null;
}

function curveChart(chart) {
  const figure = el('figure', { class: 'curve', id: null });
  const caption = el('figcaption', {}, broken(chart.metric), el('span', { class: 'quiet' }, direction(chart.mode)));
  const splits = [...new Set(chart.lines.map((line) => line.split))];
  if (splits.length > 1 || splits[0]) caption.append(splitLegend(splits));
  const plot = el('div', { class: 'plot' });
  const notes = el('ul', { class: 'notes' });
  figure.append(caption, plot, notes);
  const box = readout(plot);
  const draw = () => drawCurves(chart, splits, plot, notes, box);
  return { figure, draw, metric: chart.metric };
}

function splitLegend(splits) {
  return el('span', { class: 'splits' }, splits.map((split, n) => el('span', {},
    svg('svg', { width: 26, height: 8, 'aria-hidden': 'true' }, svg('line', { x1: 1, x2: 25, y1: 4, y2: 4, 'stroke-dasharray': DASHES[n % DASHES.length] })),
    split ? named(split) : 'no split')));
}

function drawCurves(chart, splits, plot, notes, box) {
  const lines = chart.lines.filter((line) => !view.hidden.has(line.experiment) && line.x.length);
  const positive = (value) => value > 0;
  const isLog = view.log && lines.some((line) => line.y.some((value) => value !== null && positive(value)));
  const isDrawn = isLog ? positive : () => true;
  const saved = view.marks ? checkpointsOf(chart) : [];
  const xs = extent([...lines.map((line) => [line.x[0], line.x[line.x.length - 1]]), saved.map((one) => one.step)], () => true);
  const ys = extent([...lines.map((line) => line.y), saved.map((one) => one.metrics[chart.metric] ?? null)], isDrawn);
  plot.querySelectorAll('svg, .empty').forEach((old) => old.remove());
  notes.replaceChildren(...noteItems(lines));
  if (!ys) {
    plot.prepend(el('p', { class: 'empty' }, lines.length ? 'Nothing finite was logged.' : 'Every experiment that has it is hidden.'));
    return;
  }
  const width = Math.max(plot.clientWidth, 240), height = 250;
  const pad = (ys[1] - ys[0]) * 0.05;
  const domains = { x: xs, y: isLog ? [ys[0] / 1.1, ys[1] * 1.1] : [ys[0] - pad, ys[1] + pad] };
  const label = `${chart.metric} by step, ${plural(lines.length, 'line')}, from ${number(ys[0])} to ${number(ys[1])}. Arrow keys read values.`;
  const drawn = frame(width, height, domains, { log: isLog, label, xIsStep: true, xTitle: isLog ? 'step (log scale)' : 'step' });
  const byRank = [...lines].sort((a, b) => ranks.get(b.experiment) - ranks.get(a.experiment)); // the best on top
  for (const line of byRank) drawLine(line, splits, drawn, isDrawn);
  const symbols = drawCheckpoints(saved, chart, drawn, isDrawn);
  if (view.marks) drawMarks(lines, drawn, isDrawn);
  plot.prepend(drawn.root);
  listen(chart, lines, drawn, symbols, box, isDrawn);
}

function drawLine(line, splits, drawn, isDrawn) {
  const dash = DASHES[splits.indexOf(line.split) % DASHES.length];
  const add = (xs, ys, kind) => drawn.area.append(svg('path', { class: `line ${kind} ${colour(line.experiment)}`,
    d: path(xs, ys, drawn.x, drawn.y, isDrawn), 'stroke-dasharray': dash }));
  if (view.smoothing > 0 && line.x.length > 2) {
    add(line.x, line.y, 'behind');
    add(...smoothed(line, view.smoothing), 'front');
  } else add(line.x, line.y, 'front');
}

function checkpointsOf(chart) {
  const owners = new Set(chart.lines.map((line) => line.experiment));
  return data.checkpoints.filter((one) => owners.has(one.experiment) && !view.hidden.has(one.experiment));
}

// Checkpoints at the values that they were saved with; those without one as ticks on the axis.
function drawCheckpoints(checkpoints, chart, drawn, isDrawn) {
  const found = [];
  for (const checkpoint of checkpoints) {
    const value = checkpoint.metrics[chart.metric];
    const x = drawn.x(checkpoint.step);
    if (value === undefined || value === null || !isDrawn(value)) {
      drawn.area.append(svg('line', { class: `rug ${colour(checkpoint.experiment)}`, x1: x, x2: x, y1: drawn.inner.bottom, y2: drawn.inner.bottom - (checkpoint.best ? 11 : 6) }));
    } else {
      const y = drawn.y(value);
      found.push({ checkpoint, value, x, y });
    }
  }
  // The remarkable ones on top.
  const kinds = ['going', 'kept', 'broken', 'pinned', 'best'];
  found.sort((a, b) => kinds.indexOf(symbolKind(a.checkpoint)) - kinds.indexOf(symbolKind(b.checkpoint)) || ranks.get(b.checkpoint.experiment) - ranks.get(a.checkpoint.experiment));
  for (const one of found) drawn.area.append(symbol(one.checkpoint, one.x, one.y));
  return found;
}

const MARK_SIGNS = { plateau: '\u2194', divergence: '\u25b2', spike: '\u25cb', 'not finite': '\u2715' };

function drawMarks(lines, drawn, isDrawn) {
  for (const line of lines) for (const mark of line.marks) {
    const place = nearest(line.x, mark.step);
    const value = line.y[place];
    const isOnLine = value !== null && isDrawn(value);
    const x = drawn.x(mark.step), title = svg('title', {}, `${lineName(line)}: ${mark.text}`);
    if (mark.kind === 'plateau' && colour(line.experiment) === 'others') continue;
    if (mark.kind === 'spike') {
      if (isOnLine) drawn.area.append(svg('circle', { class: 'spike', cx: x, cy: drawn.y(value), r: 4.5 }, title));
      continue;
    }
    const y = isOnLine ? Math.max(drawn.y(value) - 9, drawn.inner.top + 8) : drawn.inner.top + 8;
    drawn.area.append(svg('text', { class: `mark ${mark.kind.replace(' ', '-')}`, x, y, 'text-anchor': 'middle' }, MARK_SIGNS[mark.kind], title));
  }
}

function noteItems(lines) {
  const all = lines.flatMap((line) => line.marks.map((mark) => [line, mark]));
  const kinds = ['not finite', 'divergence', 'spike', 'plateau'];
  all.sort((a, b) => kinds.indexOf(a[1].kind) - kinds.indexOf(b[1].kind) || ranks.get(a[0].experiment) - ranks.get(b[0].experiment));
  // One of each kind before a second one of any.
  const firsts = kinds.map((kind) => all.find(([, mark]) => mark.kind === kind)).filter((one) => one);
  const chosen = [...firsts, ...all.filter((one) => !firsts.includes(one))].slice(0, 4);
  const items = chosen.map(([line, mark]) => el('li', {}, el('span', { class: `mark ${mark.kind.replace(' ', '-')}` }, MARK_SIGNS[mark.kind]),
    named(lineName(line), 48), ' ', mark.text));
  if (all.length > chosen.length) items.push(el('li', { class: 'quiet' }, `and ${plural(all.length - chosen.length, 'more mark')} in the chart`));
  const reduced = lines.filter((line) => line.mean_x);
  if (reduced.length) {
    const points = reduced.reduce((sum, line) => sum + line.points, 0);
    items.push(el('li', { class: 'quiet' }, `${whole(points)} points, drawn by the extremes of each column of pixels`));
  }
  return items;
}

function lineName(line) {
  const parts = [data.experiments.length > 1 ? data.experiments[line.experiment].name : '', line.split, line.tags];
  return parts.filter((part) => part).join(' \u00b7 ') || data.experiments[line.experiment].name;
}

// --- reading values by pointer and keyboard --------------------------------------------------------------------------

function listen(chart, lines, drawn, symbols, box, isDrawn) {
  const rule = svg('line', { class: 'rule', y1: drawn.inner.top, y2: drawn.inner.bottom, visibility: 'hidden' });
  const dots = svg('g', {});
  drawn.root.append(rule, dots);
  let step = null;
  const hide = () => { rule.setAttribute('visibility', 'hidden'); dots.replaceChildren(); box.hide(); };
  const read = (wanted, height) => {
    const rows = valuesAt(lines, wanted, isDrawn, chart.mode);
    if (!rows.length) return hide();
    step = rows.reduce((best, row) => (Math.abs(row.step - wanted) < Math.abs(best - wanted) ? row.step : best), rows[0].step);
    const x = drawn.x(step);
    for (const name of ['x1', 'x2']) rule.setAttribute(name, x);
    rule.setAttribute('visibility', 'visible');
    dots.replaceChildren(...rows.map((row) => svg('circle', { class: `dot ${colour(row.line.experiment)}`, cx: drawn.x(row.step), cy: drawn.y(row.value), r: 3 })));
    const more = rows.length > MOST_ROWS ? `and ${rows.length - MOST_ROWS} more` : null;
    box.show(x, height, `step ${whole(step)}`, rows.slice(0, MOST_ROWS).map((row) => [colour(row.line.experiment), lineName(row.line), number(row.value)]), more);
    return rows;
  };
  drawn.root.addEventListener('pointermove', (event) => {
    const [x, y] = pointer(event, drawn.root);
    const close = symbols.filter((one) => Math.hypot(one.x - x, one.y - y) < 11).pop();
    if (close) { hide(); return showCheckpoint(box, close, chart.metric); }
    return read(drawn.x.invert(x), y);
  });
  drawn.root.addEventListener('pointerleave', hide);
  drawn.root.addEventListener('blur', hide);
  drawn.root.addEventListener('keydown', (event) => {
    const next = stepByKey(event.key, step, drawn);
    if (event.key === 'Escape') return hide();
    if (next === null) return undefined;
    event.preventDefault();
    const rows = read(next, (drawn.inner.top + drawn.inner.bottom) / 2);
    if (rows) announce(`step ${whole(step)}: ` + rows.slice(0, MOST_ROWS).map((row) => `${lineName(row.line)} ${number(row.value)}`).join(', '));
    return undefined;
  });
}

function stepByKey(key, step, drawn) {
  const low = drawn.x.invert(drawn.inner.left), high = drawn.x.invert(drawn.inner.right);
  const moves = { ArrowLeft: -0.02, ArrowRight: 0.02, PageUp: -0.1, PageDown: 0.1 };
  if (key === 'Home') return low;
  if (key === 'End') return high;
  if (!(key in moves)) return null;
  return step === null ? low : Math.min(high, Math.max(low, step + moves[key] * (high - low)));
}

// The value of each line that reaches a step, the best first.
function valuesAt(lines, wanted, isDrawn, mode) {
  const rows = [];
  for (const line of lines) {
    const place = nearest(line.x, wanted);
    const value = line.y[place];
    if (value !== null && isDrawn(value)) rows.push({ line, step: line.x[place], value });
  }
  const sign = mode === 'max' ? -1 : 1;
  return rows.sort((a, b) => sign * (a.value - b.value));
}

function showCheckpoint(box, found, metric) {
  const { checkpoint } = found;
  const name = data.experiments[checkpoint.experiment].name;
  const rows = [[colour(checkpoint.experiment), name, `step ${whole(checkpoint.step)}`], [null, metric, number(found.value)], [null, 'size', bytes(checkpoint.bytes)]];
  box.show(found.x, found.y, `checkpoint ${checkpoint.id}`, rows, fate(checkpoint));
}
