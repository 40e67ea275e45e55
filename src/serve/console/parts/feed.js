/** The samples' data: this page writes it, for as long as it is open and the feed is not stopped. */
import { signal } from '../vendor/preact.js';
import { gone, post } from './api.js';
import { insert, SAMPLES } from './samples.js';

/** Time between two rounds of rows. */
const ROUND_MILLIS = 400;
/** A forgotten page does not write for ever. */
const ROUNDS_MAX = 4500;

/** The sample whose data are being written, or `null`. */
export const feeding = signal(null);
let stop = () => {};

/** Creates what a sample needs; its errors are thrown. */
export async function setUp(sample) {
  for (const ksql of sample.setup) await post('/ksql', { ksql });
}

/** Writes a sample's data, in place of another's. */
export function feed(name) {
  stop();
  const sample = SAMPLES.find(one => one.name === name);
  let round = 0;
  let timer = 0;
  const turn = async () => {
    if (!gone.value) {
      try {
        await post('/ksql', { ksql: insert(sample.target, sample.rows(round)) });
      } catch {
        // The stream may be gone by now: then there is nothing to write to.
        if (!gone.value) return stop();
      }
    }
    round += 1;
    if (round >= ROUNDS_MAX) return stop();
    timer = setTimeout(turn, ROUND_MILLIS);
    return undefined;
  };
  let stopped = false;
  stop = () => {
    stopped = true;
    clearTimeout(timer);
    if (feeding.value === name) feeding.value = null;
  };
  feeding.value = name;
  timer = setTimeout(() => !stopped && turn(), 0);
}

export const stopFeeding = () => stop();
