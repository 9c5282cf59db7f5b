// Checkpoints by two of their metrics, and the front: those that no other beats in both.

function tradeOffSection() {
  const body = el('div', {});
  if (!data.trade_offs.length) {
    return el('p', { class: 'empty' }, 'Checkpoints have to have two metrics of known direction: save(step, metrics={"val_loss": \u2026, "latency_ms": \u2026}).');
  }
  const plot = el('div', { class: 'plot' });
  const list = el('div', {});
  const box = readout(plot);
  const choice = el('select', { id: 'pair' }, data.trade_offs.map((one, n) => el('option', { value: n }, `${one.y} against ${one.x}`)));
  const draw = () => drawTradeOff(data.trade_offs[choice.value], plot, list, box);
  choice.addEventListener('change', draw);
  body.append(el('div', { class: 'controls' }, el('label', { for: 'pair' }, 'Pair'), choice), el('div', { class: 'split' }, plot, list));
  drawers.push({ figure: plot, draw });
  return body;
}

function drawTradeOff(pair, plot, list, box) {
  const front = new Set(pair.front);
  const points = data.checkpoints.map((checkpoint, place) => ({ checkpoint, place, px: checkpoint.metrics[pair.x], py: checkpoint.metrics[pair.y] }))
    .filter((one) => one.checkpoint.state === 'committed' && Number.isFinite(one.px) && Number.isFinite(one.py) && !view.hidden.has(one.checkpoint.experiment));
  plot.querySelectorAll('svg, .empty').forEach((old) => old.remove());
  const xs = extent([points.map((one) => one.px)], () => true), ys = extent([points.map((one) => one.py)], () => true);
  if (!xs) { plot.prepend(el('p', { class: 'empty' }, 'No checkpoint that is shown has both.')); return list.replaceChildren(); }
  const xLog = spansDecades(xs), log = spansDecades(ys);
  const drawn = frame(Math.max(plot.clientWidth, 240), 320, { x: padded(xs, xLog), y: padded(ys, log) }, { xLog, log,
    label: `${plural(points.length, 'checkpoint')} by ${pair.y} and ${pair.x}; ${plural(front.size, 'one')} on the front`,
    xTitle: axisTitle(pair.x, pair.x_mode, xLog), yTitle: axisTitle(pair.y, pair.y_mode, log) });
  for (const one of points) { one.x = drawn.x(one.px); one.y = drawn.y(one.py); }
  const best = points.filter((one) => front.has(one.place)).sort((a, b) => a.px - b.px);
  drawn.area.append(svg('path', { class: 'front-line', d: stairs(best, pair) }));
  for (const one of points.filter((other) => !front.has(other.place))) drawn.area.append(svg('circle', { class: `point ${colour(one.checkpoint.experiment)}`, cx: one.x, cy: one.y, r: 3.5 }));
  for (const one of best) drawn.area.append(symbol(one.checkpoint, one.x, one.y));
  plot.prepend(drawn.root);
  drawn.root.addEventListener('pointerleave', () => box.hide());
  drawn.root.addEventListener('pointermove', (event) => {
    const [x, y] = pointer(event, drawn.root);
    const close = points.map((one) => [Math.hypot(one.x - x, one.y - y), one]).filter(([apart]) => apart < 14).sort((a, b) => a[0] - b[0])[0];
    if (!close) return box.hide();
    const one = close[1], name = data.experiments[one.checkpoint.experiment].name;
    return box.show(one.x, one.y, `checkpoint ${one.checkpoint.id}`, [[colour(one.checkpoint.experiment), name, `step ${whole(one.checkpoint.step)}`],
      [null, pair.y, number(one.py)], [null, pair.x, number(one.px)]], fate(one.checkpoint));
  });
  list.replaceChildren(el('h3', {}, `The front: ${best.length} of ${plural(points.length, 'checkpoint')}`),
    table([words('Experiment'), figures('Step'), figuresOf(pair.y), figuresOf(pair.x)], best.map((one) => [
      el('span', { class: 'owner' }, swatch(one.checkpoint.experiment), named(data.experiments[one.checkpoint.experiment].name, 28)),
      whole(one.checkpoint.step), number(one.py), number(one.px)]), `The front of ${pair.y} and ${pair.x}`));
  return undefined;
}

// Values over some powers of ten would lie on top of each other at the lower end of a linear axis.
const spansDecades = ([low, high]) => low > 0 && high / low > 100;
const axisTitle = (metric, mode, isLog) => `${metric}, ${direction(mode)}${isLog ? ' (log scale)' : ''}`;

function padded([low, high], isLog) {
  if (isLog) return [low / (high / low) ** 0.06, high * (high / low) ** 0.06];
  return [low - (high - low) * 0.06, high + (high - low) * 0.06];
}

// What is behind the front is beaten: the line goes round the corner that lies on the worse side.
function stairs(points, pair) {
  let line = '';
  points.forEach((one, n) => {
    if (!n) { line += `M${one.x} ${one.y}`; return; }
    line += pair.x_mode === 'min' ? `H${one.x}V${one.y}` : `V${one.y}H${one.x}`;
  });
  return line;
}
