/** Graphs: laid out in layers, drawn as SVG. Moves by dragging and keys, zooms by the wheel with Ctrl and by buttons. */
import { html, useEffect, useMemo, useRef, useSignal } from '../vendor/preact.js';
import { t } from './i18n.js';
import { layered } from './layers.js';
import { Button, download } from './ui.js';

const ZOOM = 1.25;
const ZOOM_MIN = 0.2;
const READABLE = 0.55;
const ZOOM_MAX = 2.5;
const STEP = 40;

/** Room for a text at this size of letters; Korean letters are twice as wide. */
const letters = text => [...String(text ?? '')].reduce((sum, one) => sum + (one > '\u2e80' ? 1.75 : 1), 0);

function place(nodes, edges, direction) {
  const sized = nodes.map(node => {
    const lines = node.lines ?? [];
    const width = Math.min(300, Math.max(96, letters(node.title) * 7.6 + 44, ...lines.map(line => letters(line.text ?? line) * 6.4 + 28)));
    return { ...node, width, height: 34 + lines.length * 16 };
  });
  const ids = new Set(nodes.map(node => node.id));
  const usable = edges.filter(edge => ids.has(edge.from) && ids.has(edge.to)).map(edge => ({ ...edge, labelWidth: letters(edge.label) * 6.2 }));
  return { direction, ...layered(sized, usable, direction) };
}

/** From left to right or from top to bottom, whichever can be drawn larger. */
function wider(nodes, edges, box) {
  const room = { width: box?.clientWidth || innerWidth * 0.6, height: box?.clientHeight || innerHeight * 0.45 };
  const [across, down] = [place(nodes, edges, 'LR'), place(nodes, edges, 'TB')];
  const scale = drawn => Math.min(1, room.width / drawn.width, room.height / drawn.height);
  return scale(down) > scale(across) ? down : across;
}

/** A line through points that leaves and enters nodes in the direction of the graph. */
function path([first, ...rest], direction) {
  let [text, last] = [`M${first.x} ${first.y}`, first];
  for (const point of rest) {
    const [x, y] = [(last.x + point.x) / 2, (last.y + point.y) / 2];
    text += direction === 'LR' ? `C${x} ${last.y} ${x} ${point.y} ${point.x} ${point.y}` : `C${last.x} ${y} ${point.x} ${y} ${point.x} ${point.y}`;
    last = point;
  }
  return text;
}

/** The outline says what a node is, beside colour and text. */
function outline(kind, width, height) {
  const [w, h] = [width / 2, height / 2];
  if (kind === 'stream') return `M${-w} ${-h}H${w - 10}L${w} 0L${w - 10} ${h}H${-w}L${-w + 8} 0z`;
  if (kind === 'query') {
    const r = Math.min(h, 16);
    return `M${-w + r} ${-h}H${w - r}A${r} ${r} 0 01${w} ${-h + r}V${h - r}A${r} ${r} 0 01${w - r} ${h}H${-w + r}A${r} ${r} 0 01${-w} ${h - r}V${-h + r}A${r} ${r} 0 01${-w + r} ${-h}z`;
  }
  if (kind === 'table') return `M${-w} ${-h}H${w}V${h}H${-w}zM${-w + 6} ${-h}V${h}`;
  return `M${-w + 4} ${-h}H${w - 4}Q${w} ${-h} ${w} ${-h + 4}V${h - 4}Q${w} ${h} ${w - 4} ${h}H${-w + 4}Q${-w} ${h} ${-w} ${h - 4}V${-h + 4}Q${-w} ${-h} ${-w + 4} ${-h}z`;
}

function Node({ node, onOpen }) {
  const { x, y, width, height, lines = [], title, kind, state } = node;
  const open = onOpen && (() => onOpen(node));
  return html`<g class=${`node kind-${kind} ${state ? `state-${String(state).toLowerCase()}` : ''} ${node.marked ? 'marked' : ''}`} transform=${`translate(${x} ${y})`} tabindex=${open ? 0 : undefined} role=${open ? 'link' : 'group'} aria-label=${[title, ...lines.map(line => line.text ?? line)].join(' ')}
      onClick=${open} onKeyDown=${event => open && event.key === 'Enter' && open()}>
    <path class="outline" d=${outline(kind, width, height)} />
    <text class="node-title" y=${-height / 2 + 21} text-anchor="middle">${title}</text>
    ${lines.map((line, at) => html`${' '}<text key=${at} class=${`node-line ${line.kind ?? ''}`} y=${-height / 2 + 38 + at * 16} text-anchor="middle">${line.text ?? line}</text>`)}
    ${node.title2 && html`<title>${node.title2}</title>`}
  </g>`;
}

/** The picture as a file: colours of the page are written into it. */
function save(svg) {
  const copy = svg.cloneNode(true);
  const from = svg.querySelectorAll('*');
  copy.querySelectorAll('*').forEach((element, at) => {
    const style = getComputedStyle(from[at]);
    for (const name of ['fill', 'stroke', 'stroke-width', 'font-family', 'font-size', 'font-weight']) element.setAttribute(name, style.getPropertyValue(name));
  });
  download('graph.svg', new XMLSerializer().serializeToString(copy), 'image/svg+xml');
}

/**
 * @param {{ nodes: { id: string, kind: string, title: string, lines?: any[], state?: string, marked?: boolean }[], edges: { from: string, to: string, label?: string, weight?: number, kind?: string }[],
 *   label: string, onOpen?: (node: any) => void, direction?: 'LR' | 'TB' | 'auto', height?: number }} props
 */
export function Dag({ nodes, edges, label, onOpen, direction = 'LR', children }) {
  const box = useRef(null);
  const view = useSignal(null);
  const drag = useRef(null);
  // Layout depends on names and links, not on numbers: a graph does not jump while it is watched.
  const shape = JSON.stringify([nodes.map(node => [node.id, node.title, node.lines?.length]), edges.map(edge => [edge.from, edge.to]), direction]);
  const placed = useMemo(() => (direction === 'auto' ? wider(nodes, edges, box.current) : place(nodes, edges, direction)), [shape]);
  const now = new Map(nodes.map(node => [node.id, node]));
  const fit = () => {
    if (!box.current) return;
    const { clientWidth: width, clientHeight: height } = box.current;
    // Smaller than this nothing can be read: then a part is in sight, and the rest is a drag away.
    const scale = Math.max(READABLE, Math.min(1.15, (width - 16) / Math.max(1, placed.width), (height - 16) / Math.max(1, placed.height)));
    view.value = { scale, x: Math.max(8, (width - placed.width * scale) / 2), y: Math.max(8, (height - placed.height * scale) / 2) };
  };
  useEffect(() => {
    fit();
    const observer = new ResizeObserver(fit);
    observer.observe(box.current);
    return () => observer.disconnect();
  }, [placed]);
  const { scale, x, y } = view.value ?? { scale: 1, x: 0, y: 0 };
  const zoom = (factor, at) => {
    const to = Math.min(ZOOM_MAX, Math.max(ZOOM_MIN, scale * factor));
    const middle = at ?? { x: box.current.clientWidth / 2, y: box.current.clientHeight / 2 };
    view.value = { scale: to, x: middle.x - ((middle.x - x) * to) / scale, y: middle.y - ((middle.y - y) * to) / scale };
  };
  const wheel = event => {
    if (!event.ctrlKey && !event.metaKey) return;
    event.preventDefault();
    const frame = box.current.getBoundingClientRect();
    zoom(event.deltaY < 0 ? ZOOM : 1 / ZOOM, { x: event.clientX - frame.left, y: event.clientY - frame.top });
  };
  useEffect(() => {
    const element = box.current;
    const on = event => wheel(event);
    element.addEventListener('wheel', on, { passive: false });
    return () => element.removeEventListener('wheel', on);
  });
  const keys = event => {
    const by = { ArrowLeft: [STEP, 0], ArrowRight: [-STEP, 0], ArrowUp: [0, STEP], ArrowDown: [0, -STEP] }[event.key];
    if (by && event.target === box.current) {
      event.preventDefault();
      view.value = { scale, x: x + by[0], y: y + by[1] };
    } else if (event.key === '+' || event.key === '-') {
      zoom(event.key === '+' ? ZOOM : 1 / ZOOM);
    }
  };
  const down = event => {
    if (event.target.closest('.node')) return;
    drag.current = { x: event.clientX - x, y: event.clientY - y };
    event.currentTarget.setPointerCapture(event.pointerId);
  };
  const move = event => { if (drag.current) view.value = { scale, x: event.clientX - drag.current.x, y: event.clientY - drag.current.y }; };
  const up = () => { drag.current = null; };
  return html`<div class="dag"><div class="dag-tools">${children}<${Button} small kind="quiet" icon="plus" aria-label=${t('graph.in')} onClick=${() => zoom(ZOOM)} /><${Button} small kind="quiet" icon="minus" aria-label=${t('graph.out')} onClick=${() => zoom(1 / ZOOM)} /><${Button} small kind="quiet" icon="fit" aria-label=${t('graph.fit')} onClick=${fit} /><${Button} small kind="quiet" icon="download" label="SVG" onClick=${() => save(box.current.querySelector('svg'))} /></div>
    <div class="dag-box" ref=${box} tabindex="0" role="group" aria-label=${label} onKeyDown=${keys} onPointerDown=${down} onPointerMove=${move} onPointerUp=${up} onPointerCancel=${up}>
      <svg width="100%" height="100%" xmlns="http://www.w3.org/2000/svg"><defs><marker id="arrow" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="7" markerHeight="7" orient="auto-start-reverse" markerUnits="userSpaceOnUse"><path class="arrow-head" d="M0 0L8 4L0 8z" /></marker></defs>
        <g transform=${`translate(${x} ${y}) scale(${scale})`}>
          ${placed.edges.map((edge, at) => {
    const live = edges.find(one => one.from === edge.from && one.to === edge.to) ?? edge;
    return html`<g key=${at} class=${`edge ${live.kind ?? ''}`}><path d=${path(edge.points, placed.direction)} marker-end="url(#arrow)" stroke-width=${1.2 + (live.weight ?? 0)} />
            ${live.label && html`<text x=${edge.x} y=${edge.y - 4} text-anchor="middle">${live.label}</text>`}</g>`;
  })}
          ${placed.nodes.map(node => html`<${Node} key=${node.id} node=${{ ...node, ...now.get(node.id) }} onOpen=${onOpen} />`)}
        </g></svg></div></div>`;
}
