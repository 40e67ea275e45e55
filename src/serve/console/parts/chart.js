/** Charts: uPlot in the colours of the page. */
import Plot from '../vendor/uplot.js';
import { html, useEffect, useRef } from '../vendor/preact.js';
import { clock, short } from './format.js';
import { t } from './i18n.js';
import { shownTheme } from './preferences.js';

/** Colours of series, apart from each other in both themes and for most colour-blind eyes. */
const COLOURS = {
  light: ['#0b7285', '#c2410c', '#6d28d9', '#15803d', '#be185d', '#1d4ed8', '#a16207', '#475569', '#0f766e', '#9f1239', '#4338ca', '#4d7c0f'],
  dark: ['#3bc9db', '#ff922b', '#b197fc', '#69db7c', '#f783ac', '#74a9ff', '#ffd43b', '#adb5bd', '#38d9a9', '#ff8787', '#9775fa', '#a9e34b'],
};
const HEIGHT_MIN = 120;

const colour = name => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

/**
 * @param {{ data: any[][], series: { label: string, unit?: (value: number) => string }[], time?: boolean, height?: number, label: string, fill?: boolean }} props
 *   `data` as uPlot takes it: x first; milliseconds if `time`.
 */
export function Chart({ data, series, time = true, height, label, fill, legend = true, points }) {
  const host = useRef(null);
  const plot = useRef(null);
  const names = series.map(one => one.label).join('\n');
  const dark = shownTheme.value;
  useEffect(() => {
    const element = host.current;
    const line = colour('--border');
    const ink = colour('--muted');
    const font = `11px ${colour('--sans')}`;
    const axis = { stroke: ink, font, grid: { stroke: line, width: 1 }, ticks: { stroke: line, width: 1, size: 4 } };
    const size = () => ({ width: Math.max(120, element.clientWidth), height: Math.max(HEIGHT_MIN, height ?? element.clientHeight - legendHeight()) });
    // Many lines need several rows of names.
    const legendHeight = () => (legend ? (element.querySelector('.u-legend')?.offsetHeight ?? 30) + 4 : 0);
    const palette = COLOURS[dark];
    const unit = series[0]?.unit ?? short;
    const made = new Plot({
      ...size(),
      ms: 1,
      tzDate: stamp => new Date(stamp),
      legend: { show: legend, live: legend },
      cursor: { points: { size: 7 }, drag: { x: true, y: false } },
      scales: { x: { time }, y: { range: (_plot, low, high) => bounds(low, high) } },
      axes: [
        { ...axis, space: 70, values: time ? (_plot, ticks) => ticks.map(tick => clock(tick, false)) : (_plot, ticks) => ticks.map(short) },
        { ...axis, size: 62, space: 32, values: (_plot, ticks) => ticks.map(tick => unit(tick)) },
      ],
      series: [
        { label: time ? t('chart.time') : 'x', value: (_plot, value) => (value === null ? '–' : time ? clock(value) : short(value)) },
        ...series.map((one, at) => ({
          label: one.label, stroke: palette[at % palette.length], width: 1.8, spanGaps: true, points: { show: points },
          fill: fill && series.length === 1 ? `${palette[at]}22` : undefined, value: (_plot, value) => (value === null || value === undefined ? '–' : (one.unit ?? short)(value)),
        })),
      ],
    }, data, element);
    plot.current = made;
    made.setSize(size());
    const observer = new ResizeObserver(() => made.setSize(size()));
    observer.observe(element);
    return () => {
      observer.disconnect();
      made.destroy();
      plot.current = null;
    };
  }, [names, dark, time, height, legend]);
  useEffect(() => { plot.current?.setData(data); }, [data]);
  return html`<div class="chart" ref=${host} role="img" aria-label=${label} />`;
}

/** The y axis: from zero unless all values are far from it. */
function bounds(low, high) {
  if (low === null || high === null || low === undefined) return [0, 1];
  if (low === high) return low === 0 ? [0, 1] : [Math.min(0, low * 1.2), Math.max(0, high * 1.2)];
  const spread = high - low;
  const from = low >= 0 && low < spread * 1.5 ? 0 : low - spread * 0.08;
  return [from, high + spread * 0.08];
}
