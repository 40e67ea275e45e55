/** Where `tidegate demo` sends a browser: its cars on a moving chart. */
import { html, useEffect } from '../vendor/preact.js';
import { bench } from '../parts/bench.js';
import { go } from '../parts/router.js';
import { SAMPLES } from '../parts/samples.js';
import { Loading } from '../parts/ui.js';

export default function Demo() {
  useEffect(() => {
    const { look, view } = SAMPLES.find(sample => sample.name === 'cars');
    bench.open(look);
    bench.view.value = view.view;
    bench.runText(look);
    bench.tab.value = view.tab;
    go(['sql']);
  }, []);
  return html`<${Loading} />`;
}
