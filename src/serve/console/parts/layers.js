/**
 * Places for the nodes of a directed graph, in layers: every edge points forward, long edges bend around what is between, and
 * few of them cross. For graphs of some hundred nodes, as servers have them.
 *
 *     ranks     longest path from the sources; what nothing needs early moves close to what it feeds
 *     order     in a layer by the mean place of neighbours, back and forth; the order with the fewest crossings stays
 *     places    as close to the mean of the neighbours as the layer's order and its gaps permit
 */

/** Between nodes of one layer, and between layers. */
const NODE_GAP = 26;
const LAYER_GAP = 64;
const MARGIN = 16;
/** A long edge keeps this distance from what is between its ends. */
const LANE = 10;
const SWEEPS = 12;

const mean = list => list.reduce((sum, one) => sum + one, 0) / list.length;

/** The edges without those that lead back: a graph with a cycle has layers, too. Each has a `low` and a `high` end. */
function forward(nodes, edges) {
  const out = new Map(nodes.map(node => [node.id, []]));
  for (const edge of edges) out.get(edge.from).push(edge);
  const state = new Map();
  const back = new Set();
  const visit = id => {
    state.set(id, 'open');
    for (const edge of out.get(id)) {
      if (state.get(edge.to) === 'open') back.add(edge);
      else if (!state.has(edge.to)) visit(edge.to);
    }
    state.set(id, 'done');
  };
  for (const node of nodes) if (!state.has(node.id)) visit(node.id);
  return edges.map(edge => (back.has(edge) ? { edge, low: edge.to, high: edge.from } : { edge, low: edge.from, high: edge.to }));
}

/** The layer of each node. */
function ranks(nodes, links) {
  const rank = new Map(nodes.map(node => [node.id, 0]));
  for (let changed = true; changed;) {
    changed = false;
    for (const { low, high } of links) {
      if (rank.get(high) <= rank.get(low)) {
        rank.set(high, rank.get(low) + 1);
        changed = true;
      }
    }
  }
  for (const node of nodes) {
    const ahead = links.filter(link => link.low === node.id).map(link => rank.get(link.high));
    if (ahead.length > 0 && !links.some(link => link.high === node.id)) rank.set(node.id, Math.min(...ahead) - 1);
  }
  return rank;
}

/** Layers of cells: nodes, and a lane for each layer that a long edge passes. Cells know their neighbours before and behind. */
function layersOf(nodes, links, size) {
  const rank = ranks(nodes, links);
  const layers = [];
  const cell = (at, thick) => {
    const made = { thick, before: [], behind: [], place: 0 };
    (layers[at] ??= []).push(made);
    return made;
  };
  const cells = new Map(nodes.map(node => [node.id, cell(rank.get(node.id), size(node))]));
  const join = (a, b) => {
    a.behind.push(b);
    b.before.push(a);
  };
  for (const link of links) {
    link.lanes = [];
    let last = cells.get(link.low);
    for (let at = rank.get(link.low) + 1; at < rank.get(link.high); at += 1) {
      const lane = cell(at, LANE);
      link.lanes.push(lane);
      join(last, lane);
      last = lane;
    }
    join(last, cells.get(link.high));
  }
  return { cells, rank, layers: Array.from(layers, layer => layer ?? []) };
}

/** How many edges cross between neighbouring layers. */
function crossings(layers) {
  let count = 0;
  for (const layer of layers) {
    const ends = layer.flatMap(cell => cell.behind.map(next => next.at).sort((a, b) => a - b));
    for (let i = 0; i < ends.length; i += 1) for (let j = 0; j < i; j += 1) if (ends[j] > ends[i]) count += 1;
  }
  return count;
}

const number = layers => layers.forEach(layer => layer.forEach((cell, at) => { cell.at = at; }));

/** Sorts each layer by its neighbours, forwards and backwards in turn, and keeps the best order. */
function order(layers) {
  number(layers);
  let best = { count: Infinity, layers };
  for (let sweep = 0; sweep < SWEEPS && best.count > 0; sweep += 1) {
    const side = sweep % 2 === 0 ? 'before' : 'behind';
    for (const layer of side === 'before' ? layers : [...layers].reverse()) {
      for (const cell of layer) cell.wanted = cell[side].length > 0 ? mean(cell[side].map(next => next.at)) : cell.at;
      layer.sort((a, b) => a.wanted - b.wanted);
      layer.forEach((cell, at) => { cell.at = at; });
    }
    const count = crossings(layers);
    if (count < best.count) best = { count, layers: layers.map(layer => [...layer]) };
  }
  number(best.layers);
  return best.layers;
}

/** Moves the cells of a layer to where they want to be, in their order and with gaps: blocks that collide become one. */
function settle(layer) {
  const blocks = [];
  let offset = 0;
  for (const cell of layer) {
    offset += cell.thick / 2;
    cell.offset = offset;
    offset += cell.thick / 2 + (cell.thick === LANE ? LANE : NODE_GAP);
    // A lane is heavier: its edge is to be straight.
    let block = { cells: [cell], weight: cell.thick === LANE ? 4 : 1, wanted: cell.wanted - cell.offset };
    while (blocks.length > 0 && blocks.at(-1).wanted >= block.wanted) {
      const other = blocks.pop();
      const weight = other.weight + block.weight;
      block = { cells: [...other.cells, ...block.cells], weight, wanted: (other.wanted * other.weight + block.wanted * block.weight) / weight };
    }
    blocks.push(block);
  }
  for (const block of blocks) for (const cell of block.cells) cell.place = block.wanted + cell.offset;
}

function places(layers) {
  for (const layer of layers) {
    layer.forEach(cell => { cell.wanted = 0; });
    settle(layer);
  }
  for (let sweep = 0; sweep < SWEEPS; sweep += 1) {
    const sides = sweep >= SWEEPS - 2 ? ['before', 'behind'] : [sweep % 2 === 0 ? 'before' : 'behind'];
    for (const layer of sides[0] === 'before' ? layers : [...layers].reverse()) {
      for (const cell of layer) {
        const near = sides.flatMap(side => cell[side]).map(next => next.place);
        cell.wanted = near.length > 0 ? mean(near) : cell.place;
      }
      settle(layer);
    }
  }
  const first = Math.min(...layers.flat().map(cell => cell.place - cell.thick / 2));
  for (const cell of layers.flat()) cell.place += MARGIN - first;
}

/**
 * @param {{ id: string, width: number, height: number }[]} nodes @param {{ from: string, to: string, labelWidth?: number }[]} edges between
 *   these nodes @param {'LR' | 'TB'} direction
 * @returns the size, and nodes with the `x` and `y` of their middle, edges with their `points` and the place of their label
 */
export function layered(nodes, edges, direction) {
  if (nodes.length === 0) return { width: 0, height: 0, nodes: [], edges: [] };
  const isAcross = direction === 'LR';
  const depth = node => (isAcross ? node.width : node.height);
  const links = forward(nodes, edges.filter(edge => edge.from !== edge.to));
  const { cells, rank, layers: found } = layersOf(nodes, links, node => (isAcross ? node.height : node.width));
  const layers = order(found);
  places(layers);
  // Labels lie between two layers when edges run across.
  const gap = Math.max(LAYER_GAP, isAcross ? 24 + Math.max(0, ...edges.map(edge => edge.labelWidth ?? 0)) : 0);
  const deep = layers.map((_, at) => Math.max(0, ...nodes.filter(node => rank.get(node.id) === at).map(depth)));
  const starts = deep.map((_, at) => MARGIN + deep.slice(0, at).reduce((sum, one) => sum + one + gap, 0));
  const point = (along, place) => (isAcross ? { x: along, y: place } : { x: place, y: along });
  const middle = at => starts[at] + deep[at] / 2;
  const end = Math.max(...layers.flat().map(cell => cell.place + cell.thick / 2)) + MARGIN;
  const total = starts.at(-1) + deep.at(-1) + MARGIN;
  const byId = new Map(nodes.map(node => [node.id, node]));
  const drawn = new Map();
  for (const { edge, low, high, lanes } of links) {
    const [a, b] = [rank.get(low), rank.get(high)];
    const points = [point(middle(a) + depth(byId.get(low)) / 2, cells.get(low).place)];
    lanes.forEach((lane, nth) => points.push(point(starts[a + 1 + nth], lane.place), point(starts[a + 1 + nth] + deep[a + 1 + nth], lane.place)));
    points.push(point(middle(b) - depth(byId.get(high)) / 2, cells.get(high).place));
    const half = Math.floor((points.length - 1) / 2);
    const label = { x: (points[half].x + points[half + 1].x) / 2, y: (points[half].y + points[half + 1].y) / 2 };
    drawn.set(edge, { ...edge, ...label, points: edge.from === low ? points : points.reverse() });
  }
  return {
    width: isAcross ? total : end, height: isAcross ? end : total,
    nodes: nodes.map(node => ({ ...node, ...point(middle(rank.get(node.id)), cells.get(node.id).place) })),
    edges: edges.filter(edge => drawn.has(edge)).map(edge => drawn.get(edge)),
  };
}
