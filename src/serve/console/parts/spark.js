/** Lines of a few pixels: how a number went. */
import { html } from '../vendor/preact.js';

const WIDTH = 96;
const HEIGHT = 22;

/** @param {{ values?: (number | null)[], label: string, width?: number }} props Gaps stay gaps. */
export function Spark({ values = [], label, width = WIDTH }) {
  const known = values.filter(value => value !== null && value !== undefined);
  if (known.length < 2) return html`<svg class="spark" width=${width} height=${HEIGHT} role="img" aria-label=${label}><path class="spark-base" d=${`M0 ${HEIGHT - 1.5}H${width}`} /></svg>`;
  const top = Math.max(...known, 1e-9);
  const x = at => (at / Math.max(1, values.length - 1)) * (width - 2) + 1;
  const y = value => HEIGHT - 2 - (value / top) * (HEIGHT - 5);
  let path = '';
  let pen = false;
  values.forEach((value, at) => {
    if (value === null || value === undefined) {
      pen = false;
      return;
    }
    path += `${pen ? 'L' : 'M'}${x(at).toFixed(1)} ${y(value).toFixed(1)}`;
    pen = true;
  });
  return html`<svg class="spark" width=${width} height=${HEIGHT} role="img" aria-label=${label}><path class="spark-base" d=${`M0 ${HEIGHT - 1.5}H${width}`} /><path class="spark-line" d=${path} /></svg>`;
}
