// Which run resumed from which checkpoint: a row a run, steps along it, a curve from each parent.

const ROW = 30;

function lineageSection() {
  const resumed = new Set(data.runs.filter((run) => run.parent !== null).map((run) => run.experiment));
  if (!resumed.size) return el('p', { class: 'empty' }, 'No run was resumed: every experiment is one row of checkpoints.');
  const plot = el('div', { class: 'plot' });
  const box = readout(plot);
  const runs = data.runs.filter((run) => resumed.has(run.experiment) || data.runs.some((other) => run.checkpoints.includes(other.parent)));
  drawers.push({ figure: plot, draw: () => drawLineage(runs, plot, box) });
  return plot;
}

function drawLineage(runs, plot, box) {
  plot.querySelectorAll('svg').forEach((old) => old.remove());
  const shownRuns = runs.filter((run) => !view.hidden.has(run.experiment));
  const width = Math.max(plot.clientWidth, 240), height = shownRuns.length * ROW + 44;
  const steps = extent([shownRuns.flatMap((run) => run.checkpoints.map((place) => data.checkpoints[place].step))], () => true);
  if (!steps) return;
  const isWide = width > 600, left = isWide ? 190 : 16;
  const x = linear(...steps, left, width - 18);
  const root = svg('svg', { viewBox: `0 0 ${width} ${height}`, width, height, class: 'chart', role: 'img', 'aria-label': `${plural(shownRuns.length, 'run')}, and where each was resumed` });
  for (const tick of x.ticks(Math.round(width / 110)).filter(Number.isInteger)) {
    root.append(svg('line', { class: 'grid', x1: x(tick), x2: x(tick), y1: 6, y2: height - 32 }), svg('text', { x: x(tick), y: height - 18, 'text-anchor': 'middle' }, tickText(tick)));
  }
  root.append(svg('text', { class: 'axis-title', x: width - 14, y: height - 3, 'text-anchor': 'end' }, 'step'));
  const places = new Map();
  shownRuns.forEach((run, row) => run.checkpoints.forEach((place) => places.set(place, [x(data.checkpoints[place].step), row * ROW + 20])));
  shownRuns.forEach((run, row) => drawRun(run, row, places, root, isWide));
  for (const [place, [px, py]] of places) root.append(symbol(data.checkpoints[place], px, py));
  root.addEventListener('pointerleave', () => box.hide());
  root.addEventListener('pointermove', (event) => {
    const [px, py] = pointer(event, root);
    const close = [...places].find(([, [ox, oy]]) => Math.hypot(ox - px, oy - py) < 10);
    if (!close) return box.hide();
    const one = data.checkpoints[close[0]];
    return box.show(...close[1], `checkpoint ${one.id}`, [[colour(one.experiment), data.experiments[one.experiment].name, `step ${whole(one.step)}`]], fate(one));
  });
  plot.prepend(root);
}

function drawRun(run, row, places, root, isWide) {
  const line = run.checkpoints.map((place) => places.get(place));
  const y = row * ROW + 20;
  const hue = colour(run.experiment);
  const xs = line.map(([px]) => px);
  if (isWide) root.append(svg('text', { class: 'row-name', x: 0, y, dy: '0.32em' }, clipped(data.experiments[run.experiment].name, 24)));
  root.append(svg('line', { class: `line front ${hue}`, x1: Math.min(...xs), x2: Math.max(...xs), y1: y, y2: y }));
  const parent = places.get(run.parent);
  if (parent) {
    const [fromX, fromY] = parent, [toX, toY] = line[0];
    root.append(svg('path', { class: `line branch ${hue}`, d: `M${fromX} ${fromY}C${fromX} ${(fromY + toY) / 2 + 8} ${(fromX + toX) / 2} ${toY} ${toX} ${toY}` }));
  }
}
