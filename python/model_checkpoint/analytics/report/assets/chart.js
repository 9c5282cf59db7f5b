// What charts have in common: a frame with axes, the symbols of checkpoints, and the box that says what is under the
// pointer.

const MARGIN = { top: 10, right: 14, bottom: 34, left: 52 };

// An empty chart. `domains` are [low, high] of both axes; `area` is where data goes.
function frame(width, height, domains, options) {
  const inner = { left: MARGIN.left, right: width - MARGIN.right, top: MARGIN.top + (options.yTitle ? 16 : 0), bottom: height - MARGIN.bottom };
  const x = (options.xLog ? logarithmic : linear)(...domains.x, inner.left, inner.right);
  const y = (options.log ? logarithmic : linear)(...domains.y, inner.bottom, inner.top);
  const root = svg('svg', { viewBox: `0 0 ${width} ${height}`, width, height, class: 'chart', role: 'img', tabindex: 0,
    'aria-label': options.label });
  const grid = svg('g', { class: 'axes', 'aria-hidden': 'true' });
  for (const tick of y.ticks(Math.max(2, Math.round(height / 50)))) {
    grid.append(svg('line', { class: 'grid', x1: inner.left, x2: inner.right, y1: y(tick), y2: y(tick) }));
    grid.append(svg('text', { x: inner.left - 8, y: y(tick), dy: '0.32em', 'text-anchor': 'end' }, tickText(tick)));
  }
  for (const tick of x.ticks(Math.max(2, Math.round(width / 110))).filter((one) => !options.xIsStep || Number.isInteger(one))) {
    grid.append(svg('line', { class: 'tick', x1: x(tick), x2: x(tick), y1: inner.bottom, y2: inner.bottom + 4 }));
    grid.append(svg('text', { x: x(tick), y: inner.bottom + 16, 'text-anchor': 'middle' }, tickText(tick)));
  }
  grid.append(svg('line', { class: 'axis', x1: inner.left, x2: inner.right, y1: inner.bottom, y2: inner.bottom }));
  grid.append(svg('text', { class: 'axis-title', x: inner.right, y: height - 3, 'text-anchor': 'end' }, options.xTitle));
  if (options.yTitle) grid.append(svg('text', { class: 'axis-title', x: 2, y: 11 }, options.yTitle));
  const area = svg('g', {});
  root.append(grid, area);
  return { root, area, x, y, inner };
}

// The symbol of a checkpoint says what becomes of it; its colour says whose it is.
function symbol(checkpoint, x, y) {
  const kind = symbolKind(checkpoint);
  const shapes = {
    best: () => svg('path', { d: star(x, y, colour(checkpoint.experiment) === 'others' ? 6 : 8) }),
    pinned: () => svg('rect', { x: x - 4.5, y: y - 4.5, width: 9, height: 9, transform: `rotate(45 ${x} ${y})` }),
    kept: () => svg('circle', { cx: x, cy: y, r: 4.8 }),
    going: () => svg('circle', { cx: x, cy: y, r: 4 }),
    broken: () => svg('path', { d: `M${x - 4} ${y - 4}L${x + 4} ${y + 4}M${x - 4} ${y + 4}L${x + 4} ${y - 4}` }),
  };
  const shape = shapes[kind]();
  shape.setAttribute('class', `symbol ${kind} ${colour(checkpoint.experiment)}`);
  return shape;
}

function symbolKind(checkpoint) {
  if (checkpoint.state !== 'committed') return 'broken';
  if (checkpoint.best) return 'best';
  if (checkpoint.pinned) return 'pinned';
  return checkpoint.reasons && !checkpoint.reasons.length ? 'going' : 'kept';
}

function star(x, y, radius) {
  const points = [];
  for (let n = 0; n < 10; n += 1) {
    const size = n % 2 ? radius * 0.45 : radius, angle = (Math.PI * n) / 5 - Math.PI / 2;
    points.push(`${(x + size * Math.cos(angle)).toFixed(1)} ${(y + size * Math.sin(angle)).toFixed(1)}`);
  }
  return 'M' + points.join('L') + 'Z';
}

const SYMBOL_NAMES = { best: 'best', pinned: 'pinned', kept: 'kept', going: 'goes at the next prune', broken: 'lost or damaged' };

function symbolLegend(checkpoints) {
  const kinds = Object.keys(SYMBOL_NAMES).filter((kind) => checkpoints.some((one) => symbolKind(one) === kind));
  const samples = { best: { best: true }, pinned: { pinned: true }, going: { reasons: [] }, broken: { state: 'lost' }, kept: {} };
  return el('ul', { class: 'symbols', 'aria-label': 'Checkpoints' }, kinds.map((kind) => {
    const sample = { state: 'committed', experiment: null, ...samples[kind] };
    return el('li', {}, svg('svg', { width: 18, height: 18, 'aria-hidden': 'true' }, symbol(sample, 9, 9)), SYMBOL_NAMES[kind]);
  }));
}

function fate(checkpoint) {
  if (checkpoint.state !== 'committed') return checkpoint.state;
  if (!checkpoint.reasons) return 'kept by a policy of the program';
  return checkpoint.reasons.length ? checkpoint.reasons.join(', ') : 'goes at the next prune';
}

// A box beside the pointer. Rows are [colour or null, name, value].
function readout(figure) {
  const box = el('div', { class: 'readout', hidden: true });
  figure.append(box);
  return {
    hide() { box.hidden = true; },
    show(x, y, title, rows, more) {
      box.replaceChildren(el('strong', {}, title), ...rows.map(([hue, name, value]) => el('div', {},
        el('span', { class: `swatch ${hue || 'none'}` }), named(name, 40), el('b', {}, value))));
      if (more) box.append(el('em', {}, more));
      box.hidden = false;
      const room = figure.clientWidth - box.offsetWidth;
      const left = x + 14 + box.offsetWidth > figure.clientWidth ? x - 14 - box.offsetWidth : x + 14;
      box.style.left = Math.max(0, Math.min(left, room)) + 'px';
      box.style.top = Math.max(0, y - box.offsetHeight / 2) + 'px';
    },
  };
}

// Where the pointer is in the chart's own units.
function pointer(event, root) {
  const box = root.getBoundingClientRect();
  return [event.clientX - box.left, event.clientY - box.top];
}
